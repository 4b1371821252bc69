/* Time marks: spec/mark.md. */
#ifndef SIGILLO_MARK_H
#define SIGILLO_MARK_H

#include "bytes.h"
#include "clock.h"
#include "secret.h"
#include <stdbool.h>

/* A carrier `property` value has at most 65,535 bytes of base64url. */
#define MARK_MAX_OBJECT 49149
#define MARK_PAYLOAD_ROOM (MARK_MAX_OBJECT + 1024)

struct checkpoint {
	uint64_t size;
	uint8_t root[32];
};

struct mark {
	uint64_t sequence;
	struct clock_stamp stamp;
	struct span topic, client_id, principal; /* UTF-8 */
	uint8_t qos;
	bool retain;
	struct span payload;
	uint64_t count;
	const uint8_t *previous; /* 32 bytes */
	struct checkpoint checkpoint;
	uint64_t repeat_of;    /* 0: none */
	const uint8_t *before; /* 32 bytes, or NULL */
};

/* What is the same for all marks of an epoch, and room to make one. */
struct mark_writer {
	const struct secret *secret;
	uint8_t prefix[128]; /* of the Sig_structure, up to the payload's head */
	size_t prefix_length;
	uint8_t protected_header[128]; /* as a CBOR byte string */
	size_t protected_length;
	uint8_t signed_bytes[256 + MARK_PAYLOAD_ROOM];
	uint8_t object[512 + MARK_PAYLOAD_ROOM];
	size_t length;    /* of the object */
	uint8_t hash[32]; /* object hash */
};

/* Size 0 goes with SHA-256('') only. */
bool checkpoint_valid(const struct checkpoint *checkpoint);
void mark_writer_init(struct mark_writer *writer, const struct secret *secret, const uint8_t epoch_id[32]);
/* Whether a mark with names of this length fits a property. */
bool mark_fits(const struct mark *mark);
/* Make the tagged object and its hash in the writer. No allocation, no system call. */
void mark_write(struct mark_writer *writer, const struct mark *mark);

/* SHA-256(domain ‖ u64 length ‖ bytes), the bytes in parts: spec/encoding.md. */
void object_hash(const char *domain, const struct span *parts, size_t count, uint8_t hash[32]);
/* CBOR array of a clock state. */
uint8_t *mark_put_clock(uint8_t *out, const struct clock_stamp *stamp);

#endif
