/* Signed datagrams and what the carrier `datagram` makes of them: spec/marked-datagram.md. */
#ifndef SIGILLO_DATAGRAM_H
#define SIGILLO_DATAGRAM_H

#include "bytes.h"
#include <stdbool.h>

/* More than a marked datagram has besides payload and token. */
#define DATAGRAM_ADDED 64

enum datagram_kind {
	DATAGRAM_PLAIN,  /* neither of the two: marked by property */
	DATAGRAM_SIGNED, /* gets the broker's keys */
	DATAGRAM_TAKEN,  /* a lenient reader would find the broker's keys in it */
};

/* Where the pairs of a signed datagram lie in its payload. */
struct datagram {
	bool definite;
	uint64_t count;
	struct span pairs;
};

/* What kind of payload this is; where it is signed, its shape. Linear in its length, flat memory. */
enum datagram_kind datagram_read(struct span payload, struct datagram *found);
/* The datagram with INGESTION_TIME (`time` in ns) and, unless its data is NULL, VERIFICATION_TOKEN, at `out`, which has
 * room for the pairs, the token and DATAGRAM_ADDED. Returns its length. Without a token: what a raw token signs. */
size_t datagram_write(const struct datagram *datagram, int64_t time, struct span token, uint8_t *out);
/* Whether a payload is a COSE_Sign1 as devices make them: spec/datagram.md. Its shape only. */
bool datagram_is_reading(struct span payload);

#endif
