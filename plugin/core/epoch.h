/* Epoch statement and epoch end: spec/epoch.md. */
#ifndef SIGILLO_EPOCH_H
#define SIGILLO_EPOCH_H

#include "mark.h"
#include "state.h"

#define EPOCH_ROOM 65536 /* a handshake packet */

enum end_reason { END_STOP = 1, END_RELOAD = 2, END_LAUNCHER_GONE = 3, END_CLOCK_RECOVERY = 4, END_FAILURE = 5 };

/* Write the tagged statement of at most EPOCH_ROOM - 1 bytes to `out` and its object hash, the epoch id. Returns its
 * length, or 0 where it does not fit. */
size_t epoch_write_statement(const struct state *state, const struct secret *secret, int64_t start, uint8_t *out, uint8_t id[32]);

/* Write the tagged epoch end (at most 512 bytes) to `out`; `last`: object hash of the last mark, or the epoch id. */
size_t epoch_write_end(const struct secret *secret, const uint8_t id[32], uint64_t sequence, const struct clock_stamp *stamp,
                       enum end_reason reason, const uint8_t last[32], uint8_t *out);

#endif
