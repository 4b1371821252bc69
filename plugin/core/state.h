/* STATE, what the launcher hands over: spec/handshake.md. */
#ifndef SIGILLO_STATE_H
#define SIGILLO_STATE_H

#include "bytes.h"
#include "mark.h"
#include <stdbool.h>

#define STATE_MAX_FILTERS 64
#define STATE_MAX_BRIDGES 64
#define STATE_KEYS 21 /* of the statement's map: 1…20 */

enum carrier { CARRIER_PROPERTY, CARRIER_DATAGRAM, CARRIER_TOPIC };

/* A filter of the statement, and how its marks travel. */
struct rule {
	struct span filter;
	enum carrier carrier;
};

struct state {
	/* What the plugin acts on. Spans point into the packet, which must live as long. */
	uint32_t epoch;
	int64_t floor; /* last time of the previous epoch, ns; 0 where there is none */
	bool refuse_unsynchronised;
	bool strict; /* durability: on disk before the message goes on */
	struct checkpoint checkpoint;
	struct rule rules[STATE_MAX_FILTERS];
	size_t rule_count;
	struct span bridges[STATE_MAX_BRIDGES]; /* principals whose foreign marks are kept */
	size_t bridge_count;
	struct span spool_folder;
	size_t segment_size;
	size_t principal_limit;
	bool bound_meaningful;
	bool raw_tokens;
	bool access_list;
	uint64_t most_a_second; /* messages of one principal; 0: any number */
	uint64_t largest;       /* payload; 0: any size */
	/* The statement's values as they stand, by key; empty: absent. */
	struct span values[STATE_KEYS];
};

/* NULL, or what is wrong with the packet's body. */
const char *state_decode(struct span body, struct state *state);

#endif
