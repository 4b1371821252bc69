/* What the epoch remembers of each principal: how many marks, and the hash of the last. */
#ifndef SIGILLO_PRINCIPAL_H
#define SIGILLO_PRINCIPAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PRINCIPAL_KEY 16 /* bytes */

struct principal {
	uint8_t name[32]; /* SHA-256 of the table's key and the principal's name */
	uint8_t last[32]; /* object hash of its last mark */
	uint64_t count;   /* 0: the slot is free */
	int64_t due;      /* CLOCK_BOOTTIME, ns: when its bucket of messages is full again */
};

struct principal_table {
	uint8_t key[PRINCIPAL_KEY];
	struct principal *slots;
	size_t capacity; /* a power of two, at least twice `limit` */
	size_t limit;
	size_t used;
};

/* `key`: random bytes that no client knows. False where there is no memory. */
bool principal_table_init(struct principal_table *table, size_t limit, const uint8_t key[PRINCIPAL_KEY]);
void principal_table_free(struct principal_table *table);
/* The principal's slot; a free one (count 0) where it is new; NULL where it is new and the table is full. A new
 * principal is in the table only once `principal_advance` was called. */
struct principal *principal_find(struct principal_table *table, const char *name, size_t length);
void principal_advance(struct principal_table *table, struct principal *slot, const uint8_t hash[32]);
/* Whether the principal may have one more message now (CLOCK_BOOTTIME, ns), of `rate` a second; 0: any number. A bucket of
 * one second's messages, full at the start, refilled evenly; takes one out of it. */
bool principal_may(struct principal *slot, int64_t now, uint64_t rate);

#endif
