/* The user properties that carry marks, in a PUBLISH as Mosquitto holds it. */
#ifndef SIGILLO_PROPERTY_H
#define SIGILLO_PROPERTY_H

#include "core/bytes.h"
#include "broker.h"
#include <stdbool.h>

#define PROPERTY "time-mark"
#define PROPERTY_BEFORE "time-mark-before"

/* What a client sent under the name of our property. */
struct foreign {
	uint64_t stripped; /* how many were taken out */
	bool kept;         /* a bridge's one, under its new name */
	uint8_t hash[32];  /* SHA-256 of its value */
};

/* Take every `time-mark` that the client sent out of the list; the others keep their order. A single one of a bridge stays
 * in its place as `time-mark-before`. What changes is a new list; the one before is still the caller's. Returns Mosquitto's
 * error; then there is no new one. */
int property_strip(mosquitto_property **properties, bool bridge, struct foreign *foreign);
/* Add the mark, in base64url, as the last. */
int property_add_mark(mosquitto_property **properties, struct span object);

#endif
