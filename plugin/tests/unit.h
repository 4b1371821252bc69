/* Unit tests of core/: a harness of one page, and the reader of the shared vector files (spec/encoding.md). */
#ifndef SIGILLO_UNIT_H
#define SIGILLO_UNIT_H

#include "core/bytes.h"
#include <stdbool.h>

#define CHECK(condition) unit_check((condition), #condition, __FILE__, __LINE__)
#define RUN(test) unit_run(#test, test)

bool unit_check(bool good, const char *condition, const char *file, int line);
void unit_run(const char *name, void (*test)(void));
/* Print the sum; the exit status. */
int unit_end(void);
/* Say what a test leaves out, and why. */
void unit_skip(const char *what, const char *why);

/* Heap bytes, exactly as many as there are, so that a read behind them is seen. The caller frees `data`. */
struct bytes {
	uint8_t *data;
	size_t length;
};

struct bytes from_hex(const char *hex);
struct span span_of(struct bytes bytes);

#define VECTOR_LINES 64

struct vector {
	const char *name; /* of the file */
	char *text;
	const char *names[VECTOR_LINES], *values[VECTOR_LINES];
	size_t count;
};

/* Where the vectors are. */
void unit_vectors(const char *folder);
/* Call `use` for each file of a folder below the vectors, by name; a check fails where there is none. */
void each_vector(const char *folder, void (*use)(const struct vector *vector));
/* A value as it stands; NULL where the vector has no such line. */
const char *vector_text(const struct vector *vector, const char *name);
struct bytes vector_bytes(const struct vector *vector, const char *name);
uint64_t vector_number(const struct vector *vector, const char *name);

/* A fresh folder, and away with it. */
void folder_make(char path[64]);
void folder_remove(const char *path);
/* A file's bytes; none where it is not there. */
struct bytes file_read(const char *path);

void base64url_tests(void);
void cbor_tests(void);
void clock_tests(void);
void datagram_tests(void);
void filter_tests(void);
void principal_tests(void);
void repeat_tests(void);
void secret_tests(void);
void spool_tests(void);
void state_tests(void);
void vector_tests(void);

#endif
