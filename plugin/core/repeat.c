/* Fixed-size memory of the messages marked last: spec/mark.md, "Repeats". A ring of entries, chained in buckets by a keyed
 * hash of the message (SipHash-2-4 with 128 bits; never shown): whoever may choose messages cannot choose their places, nor
 * make two that look the same. */
#include "repeat.h"

#include <stdlib.h>
#include <string.h>

#define MASK (REPEAT_REMEMBERED - 1)
#define BUCKETS (4 * REPEAT_REMEMBERED) /* most hold one entry or none: each one more is a cache miss */

bool repeat_init(struct repeat_table *table, const uint8_t key[REPEAT_KEY])
{
	memset(table, 0, sizeof *table);
	memcpy(table->key, key, sizeof table->key);
	table->repeats = calloc(REPEAT_REMEMBERED, sizeof *table->repeats);
	table->buckets = calloc(BUCKETS, sizeof *table->buckets);
	table->objects = malloc(REPEAT_BYTES);
	return table->repeats && table->buckets && table->objects;
}

void repeat_free(struct repeat_table *table)
{
	free(table->repeats);
	free(table->buckets);
	free(table->objects);
	memset(table, 0, sizeof *table);
}

void repeat_identify(const struct repeat_table *table, const struct mark *mark, uint8_t id[REPEAT_ID])
{
	const struct span parts[] = {mark->principal, mark->client_id, mark->topic, mark->payload};
	uint8_t all[sizeof parts / sizeof *parts * REPEAT_ID + 2], *at = all;
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++, at += REPEAT_ID)
		(void)crypto_shorthash_siphashx24(at, parts[i].data, parts[i].length, table->key);
	at[0] = mark->qos;
	at[1] = mark->retain;
	(void)crypto_shorthash_siphashx24(id, all, sizeof all, table->key);
}

static uint32_t *bucket_of(const struct repeat_table *table, const uint8_t id[REPEAT_ID])
{
	uint32_t number;
	memcpy(&number, id, sizeof number);
	return &table->buckets[number & (BUCKETS - 1)];
}

const struct repeat *repeat_find(const struct repeat_table *table, const uint8_t id[REPEAT_ID])
{
	for (uint32_t at = *bucket_of(table, id); at; at = table->repeats[at - 1].next)
		if (memcmp(table->repeats[at - 1].id, id, REPEAT_ID) == 0)
			return &table->repeats[at - 1];
	return NULL;
}

/* Take the entry at `index` out of its bucket. */
static void forget(struct repeat_table *table, uint32_t index)
{
	uint32_t *link = bucket_of(table, table->repeats[index].id);
	while (*link != index + 1)
		link = &table->repeats[*link - 1].next;
	*link = table->repeats[index].next;
}

static uint64_t keep(struct repeat_table *table, struct span object)
{
	size_t room = REPEAT_BYTES - (size_t)(table->written % REPEAT_BYTES);
	if (room < object.length) /* in one piece: not over the end of the ring */
		table->written += room;
	uint64_t at = table->written;
	memcpy(table->objects + at % REPEAT_BYTES, object.data, object.length);
	table->written += object.length;
	return at;
}

void repeat_add(struct repeat_table *table, const uint8_t id[REPEAT_ID], uint64_t sequence, int64_t time, struct span object)
{
	uint32_t index = (uint32_t)(table->added++ & MASK), *bucket = bucket_of(table, id);
	struct repeat *repeat = &table->repeats[index];
	if (repeat->sequence)
		forget(table, index);
	*repeat = (struct repeat){.sequence = sequence, .time = time, .length = (uint32_t)object.length, .next = *bucket};
	memcpy(repeat->id, id, REPEAT_ID);
	if (object.length)
		repeat->object = keep(table, object);
	*bucket = index + 1;
}

size_t repeat_object(const struct repeat_table *table, const struct repeat *repeat, uint8_t *out)
{
	if (repeat->length == 0 || table->written - repeat->object > REPEAT_BYTES)
		return 0;
	memcpy(out, table->objects + repeat->object % REPEAT_BYTES, repeat->length);
	return repeat->length;
}
