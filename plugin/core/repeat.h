/* Which messages of this epoch were marked before: spec/mark.md, "Repeats". */
#ifndef SIGILLO_REPEAT_H
#define SIGILLO_REPEAT_H

#include "mark.h"
#include <sodium.h>

#define REPEAT_ID crypto_shorthash_siphashx24_BYTES /* 16 */
#define REPEAT_KEY crypto_shorthash_siphashx24_KEYBYTES
#ifndef REPEAT_REMEMBERED /* a test has a small table */
#define REPEAT_REMEMBERED 65536 /* messages; a power of two */
#define REPEAT_BYTES 4194304 /* of mark objects */
#endif

struct repeat {
	uint8_t id[REPEAT_ID];
	uint64_t sequence; /* 0: never used */
	int64_t time;      /* of the mark, ns */
	uint64_t object;   /* where it lies in the stream of kept objects */
	uint32_t length;   /* of the object; 0: not kept */
	uint32_t next;     /* in its bucket: index + 1, 0 at the end */
};

struct repeat_table {
	uint8_t key[REPEAT_KEY];
	struct repeat *repeats; /* a ring of REPEAT_REMEMBERED */
	uint32_t *buckets;      /* index + 1 of the first, 0: empty */
	uint8_t *objects;       /* a ring of REPEAT_BYTES */
	uint64_t added, written;
};

/* `key`: random bytes that no client knows. False where there is no memory. */
bool repeat_init(struct repeat_table *table, const uint8_t key[REPEAT_KEY]);
void repeat_free(struct repeat_table *table);
/* What makes two messages the same: principal, client id, topic, QoS, retain and bytes. */
void repeat_identify(const struct repeat_table *table, const struct mark *mark, uint8_t id[REPEAT_ID]);
/* The first mark of this message, or NULL. */
const struct repeat *repeat_find(const struct repeat_table *table, const uint8_t id[REPEAT_ID]);
/* Remember a first mark, and its object unless that is empty; the oldest goes. */
void repeat_add(struct repeat_table *table, const uint8_t id[REPEAT_ID], uint64_t sequence, int64_t time, struct span object);
/* The object of a mark that is remembered, copied to `out`, which has room for MARK_MAX_OBJECT; 0 where it is gone. */
size_t repeat_object(const struct repeat_table *table, const struct repeat *repeat, uint8_t *out);

#endif
