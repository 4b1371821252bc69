/* Spool segments: spec/spool.md. The only core file that touches files. */
#ifndef SIGILLO_SPOOL_H
#define SIGILLO_SPOOL_H

#include "bytes.h"
#include <stdbool.h>
#include <stdint.h>

#define SPOOL_MARK 1
#define SPOOL_STATEMENT 2
#define SPOOL_END 3

struct spool_segment {
	uint8_t *map; /* NULL: there is none */
	int fd;
	uint32_t number;
};

struct spool {
	char folder[4096 + 16]; /* of this epoch: the spool folder, and its number */
	size_t size;       /* of a segment */
	uint32_t epoch;
	uint8_t epoch_id[32];
	size_t used; /* of the current segment */
	int lock;    /* the folder, open and locked as long as this process lives: so others know whether it does */
	bool strict; /* durability: spool_flush has something to do */
	bool named;  /* the current segment's name, and the folder's, are on disk */
	bool failed; /* a flush has: nothing more goes in */
	struct spool_segment current, next;
};

/* Make the epoch's folder below `root`, lock it, make its first two segments. False with errno: nothing can be marked. */
bool spool_open(struct spool *spool, const char *root, size_t segment_size, uint32_t epoch, const uint8_t epoch_id[32], bool strict);
/* Add one record; on return it survives the death of any process. False where no segment has room: prepare later. No
 * system call while the current segment has room. */
bool spool_append(struct spool *spool, uint8_t kind, uint64_t sequence, const uint8_t *object, size_t length);
/* Have everything appended so far, and the names that lead to it, on disk; under `buffered` nothing is done. False with
 * errno where a flush failed: it is never tried again, for the kernel then takes the pages for clean. */
bool spool_flush(struct spool *spool);
/* Have the next segment ready. Off the hot path. False with errno where the disk is full. */
bool spool_prepare(struct spool *spool);
/* Clean end: cut the current segment to its used length, remove the prepared one. */
void spool_close(struct spool *spool);

#endif
