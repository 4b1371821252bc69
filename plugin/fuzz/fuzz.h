/* Fuzz targets, one for each parser: `make fuzz` drives them with libFuzzer (clang), `make check` replays the corpus (any
 * compiler). Each checks, besides what the sanitizers see, what must hold of every input. */
#ifndef SIGILLO_FUZZ_H
#define SIGILLO_FUZZ_H

#include "core/bytes.h"
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* assert() that says which, whatever NDEBUG is. */
#define REQUIRE(condition) ((condition) ? (void)0 : fuzz_fail(#condition, __FILE__, __LINE__))

static inline void fuzz_fail(const char *condition, const char *file, int line)
{
	(void)fprintf(stderr, "%s:%d: %s does not hold\n", file, line, condition);
	abort();
}

/* The next byte of an input; 0 behind its end. */
static inline uint8_t take_byte(struct span *input)
{
	if (input->length == 0)
		return 0;
	uint8_t byte = *input->data;
	*input = (struct span){input->data + 1, input->length - 1};
	return byte;
}

/* The next bytes, at most as many as there are. */
static inline struct span take_bytes(struct span *input, size_t length)
{
	struct span taken = {input->data, length < input->length ? length : input->length};
	*input = (struct span){input->data + taken.length, input->length - taken.length};
	return taken;
}

static inline bool same_bytes(struct span a, struct span b)
{
	return a.length == b.length && (a.length == 0 || memcmp(a.data, b.data, a.length) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
