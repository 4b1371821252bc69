/* Deterministic CBOR: spec/encoding.md. */
#ifndef SIGILLO_CBOR_H
#define SIGILLO_CBOR_H

#include "bytes.h"
#include <stdbool.h>

enum cbor_major { CBOR_UINT = 0, CBOR_NINT = 1, CBOR_BYTES = 2, CBOR_TEXT = 3, CBOR_ARRAY = 4, CBOR_MAP = 5, CBOR_TAG = 6, CBOR_SIMPLE = 7 };

#define CBOR_FALSE 20
#define CBOR_TRUE 21
#define CBOR_NULL 22
#define CBOR_MAX_HEAD 9

/* Writer. Each call writes at `out`, which has room, and returns the byte after what it wrote. */
uint8_t *cbor_put_head(uint8_t *out, enum cbor_major major, uint64_t value);
uint8_t *cbor_put_bytes(uint8_t *out, const void *data, size_t length);
uint8_t *cbor_put_text(uint8_t *out, const char *text, size_t length);

/* Reader. A failed call sets `failed`, which stays; the reader then stands still, so it is enough to look once. */
struct cbor_reader {
	const uint8_t *at;
	const uint8_t *end;
	bool failed;
};

struct cbor_reader cbor_reader(struct span input);
/* The next head of this major type; its value (0 where it failed). */
uint64_t cbor_get_head(struct cbor_reader *reader, enum cbor_major major);
struct span cbor_get_string(struct cbor_reader *reader, enum cbor_major major);
bool cbor_get_bool(struct cbor_reader *reader);
/* True, and past it, where the next item is null. */
bool cbor_get_null(struct cbor_reader *reader);
/* The next item, whole and well-formed, as it stands, inside `open` arrays and maps. Maps are refused: inside a
 * statement's values there are none. */
struct span cbor_get_item(struct cbor_reader *reader, int open);
/* True where everything was read and nothing failed. */
bool cbor_done(const struct cbor_reader *reader);

bool utf8_valid(const char *text, size_t length);

#endif
