/* Bounded table of principals (spec/mark.md, keys 11 and 12). Never evicts: a forgotten principal would start again
 * at count 1, and its chain would break. Open addressing by the SHA-256 of a random key and the name: whoever may choose
 * names cannot choose their places. */
#include "principal.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define SECOND INT64_C(1000000000)

bool principal_table_init(struct principal_table *table, size_t limit, const uint8_t key[PRINCIPAL_KEY])
{
	size_t capacity = 2;
	memcpy(table->key, key, sizeof table->key);
	while (capacity < 2 * limit)
		capacity *= 2;
	table->slots = calloc(capacity, sizeof *table->slots);
	table->capacity = capacity;
	table->limit = limit;
	table->used = 0;
	return table->slots != NULL;
}

void principal_table_free(struct principal_table *table)
{
	free(table->slots);
	memset(table, 0, sizeof *table);
}

struct principal *principal_find(struct principal_table *table, const char *name, size_t length)
{
	crypto_hash_sha256_state state;
	uint8_t digest[32];
	size_t at;
	(void)crypto_hash_sha256_init(&state);
	(void)crypto_hash_sha256_update(&state, table->key, sizeof table->key);
	(void)crypto_hash_sha256_update(&state, (const uint8_t *)name, length);
	(void)crypto_hash_sha256_final(&state, digest);
	memcpy(&at, digest, sizeof at);
	for (at &= table->capacity - 1;; at = (at + 1) & (table->capacity - 1)) {
		struct principal *slot = &table->slots[at];
		if (slot->count == 0) {
			if (table->used == table->limit)
				return NULL;
			memcpy(slot->name, digest, sizeof digest);
			slot->due = 0;
			return slot;
		}
		if (memcmp(slot->name, digest, sizeof digest) == 0)
			return slot;
	}
}

bool principal_may(struct principal *slot, int64_t now, uint64_t rate)
{
	if (rate == 0)
		return true;
	int64_t each = SECOND / (int64_t)rate;
	int64_t due = slot->due > now ? slot->due : now;
	if (due - now > SECOND - each)
		return false;
	slot->due = due + each;
	return true;
}

void principal_advance(struct principal_table *table, struct principal *slot, const uint8_t hash[32])
{
	if (slot->count++ == 0)
		table->used++;
	memcpy(slot->last, hash, sizeof slot->last);
}
