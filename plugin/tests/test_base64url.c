/* Base64url: RFC 4648's own examples, and libsodium's word for every remainder and digit. */
#include "core/base64url.h"
#include "unit.h"

#include <sodium.h>
#include <string.h>

static void examples(void)
{
	static const char *const encoded[] = {"", "Zg", "Zm8", "Zm9v", "Zm9vYg", "Zm9vYmE", "Zm9vYmFy"};
	for (size_t length = 0; length < sizeof encoded / sizeof *encoded; length++) {
		char out[BASE64URL_ROOM(6)];
		base64url((struct span){(const uint8_t *)"foobar", length}, out);
		CHECK(strcmp(out, encoded[length]) == 0);
	}
}

static void is_that_of_libsodium(void)
{
	uint8_t bytes[300];
	char ours[BASE64URL_ROOM(sizeof bytes)], theirs[sizeof ours];
	for (size_t length = 0; length <= sizeof bytes; length++) {
		randombytes_buf(bytes, length);
		base64url((struct span){bytes, length}, ours);
		(void)sodium_bin2base64(theirs, sizeof theirs, bytes, length, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
		CHECK(strcmp(ours, theirs) == 0 && strlen(ours) + 1 == BASE64URL_ROOM(length));
	}
}

void base64url_tests(void)
{
	RUN(examples);
	RUN(is_that_of_libsodium);
}
