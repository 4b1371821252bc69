/* Base64url: as libsodium writes it, at every length. */
#include "core/base64url.h"
#include "unit.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

static void as_libsodium(void)
{
	enum { LONGEST = 300, VARIANT = sodium_base64_VARIANT_URLSAFE_NO_PADDING };
	uint8_t bytes[LONGEST];
	char expected[sodium_base64_ENCODED_LEN(LONGEST, VARIANT)];
	for (size_t length = 0; length <= LONGEST; length++) {
		char *text = malloc(BASE64URL_ROOM(length)); /* to the last byte */
		for (int fill = 0; fill < 3; fill++) {
			for (size_t i = 0; i < length; i++)
				bytes[i] = fill == 2 ? (uint8_t)(i * 37 + length * 101) : (uint8_t)(fill ? 0xff : 0);
			base64url((struct span){bytes, length}, text);
			(void)sodium_bin2base64(expected, sizeof expected, bytes, length, VARIANT);
			CHECK(strcmp(text, expected) == 0 && strlen(text) + 1 <= BASE64URL_ROOM(length));
		}
		free(text);
	}
}

void base64url_tests(void)
{
	RUN(as_libsodium);
}
