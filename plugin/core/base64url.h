/* Base64url without padding: RFC 4648 section 5. */
#ifndef SIGILLO_BASE64URL_H
#define SIGILLO_BASE64URL_H

#include "bytes.h"

/* Characters for `length` bytes, and the zero after them. */
#define BASE64URL_ROOM(length) (((length) * 4 + 2) / 3 + 1)

/* Write the text of `bytes` and a zero at `out`, which has BASE64URL_ROOM. */
void base64url(struct span bytes, char *out);

#endif
