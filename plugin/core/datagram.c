/* Signed datagrams: spec/marked-datagram.md. The device's own CBOR is walked, never decoded: its values are nobody's
 * business here, and what is appended leaves every byte before it as it came.
 *
 * Two walks. The lenient one asks what some reader might see; the strict one what the carrier may change. */
#include "datagram.h"

#include "cbor.h"
#include <string.h>

#define MAX_PAIRS 64
#define MAX_OPEN 16
#define MAX_OPEN_LENIENT 1024
#define TIME_KEY "INGESTION_TIME"
#define TOKEN_KEY "VERIFICATION_TOKEN"
#define LONGEST_KEY (sizeof TOKEN_KEY - 1)
#define SIGNATURE 64
#define BREAK 0xff
#define INDEFINITE 31
#define TAG_STRING_REFERENCE 25
#define TAG_SHARED_REFERENCE 29
#define ENDLESS UINT64_MAX /* items of a container that a break closes */

enum walk { WALK_GOOD, WALK_MALFORMED, WALK_TOO_DEEP };

struct head {
	unsigned major, info;
	uint64_t value;
};

/* A head in any form (RFC 8949 section 3); false where the input ends in it, or it is reserved. */
static bool read_head(struct span *input, struct head *head)
{
	if (input->length == 0)
		return false;
	head->major = input->data[0] >> 5;
	head->info = input->data[0] & 31;
	head->value = head->info < 24 ? head->info : 0;
	size_t extra = head->info < 24 || head->info == INDEFINITE ? 0 : (size_t)1 << (head->info - 24);
	if ((head->info > 27 && head->info != INDEFINITE) || input->length - 1 < extra)
		return false;
	for (size_t i = 1; i <= extra; i++)
		head->value = head->value << 8 | input->data[i];
	*input = (struct span){input->data + 1 + extra, input->length - 1 - extra};
	return true;
}

static bool is_shortest(const struct head *head)
{
	static const uint64_t smaller[] = {23, 0xff, 0xffff, 0xffffffff};
	return head->info < 24 || (head->info != INDEFINITE && head->value > smaller[head->info - 24]);
}

static bool at_break(struct span input)
{
	return input.length && input.data[0] == BREAK;
}

static bool skip(struct span *input, uint64_t length)
{
	if (input->length < length)
		return false;
	*input = (struct span){input->data + length, input->length - (size_t)length};
	return true;
}

/* Past a string whose head was read; the chunks of an indefinite one are definite and of its type. */
static bool skip_string(struct span *input, struct head head)
{
	if (head.info != INDEFINITE)
		return skip(input, head.value);
	while (!at_break(*input)) {
		struct head chunk;
		if (!read_head(input, &chunk) || chunk.major != head.major || chunk.info == INDEFINITE || !skip(input, chunk.value))
			return false;
	}
	return skip(input, 1);
}

/* Items that a container holds; false where the head is none that can be. */
static bool items_of(const struct head *head, struct span input, uint64_t *items)
{
	if (head->info == INDEFINITE) {
		*items = ENDLESS;
		return head->major != CBOR_TAG;
	}
	uint64_t value = head->major == CBOR_TAG ? 1 : head->value;
	if (value > input.length) /* an item is at least a byte */
		return false;
	*items = head->major == CBOR_MAP ? 2 * value : value;
	return *items <= input.length;
}

/* Past one well-formed item, inside one open map. `left` has, per open container, the items to come; of an endless map
 * `odd` says that a value is due. */
static enum walk skip_item(struct span *input, size_t max_open)
{
	static uint64_t left[MAX_OPEN_LENIENT];
	static bool map[MAX_OPEN_LENIENT], odd[MAX_OPEN_LENIENT];
	size_t open = 0;
	for (;;) {
		struct head head;
		if (open && left[open - 1] == ENDLESS && at_break(*input)) {
			if (odd[open - 1])
				return WALK_MALFORMED;
			(void)skip(input, 1);
			open--;
		} else {
			if (!read_head(input, &head))
				return WALK_MALFORMED;
			if (open && left[open - 1] != ENDLESS)
				left[open - 1]--;
			else if (open && map[open - 1])
				odd[open - 1] = !odd[open - 1];
			if (head.major == CBOR_BYTES || head.major == CBOR_TEXT) {
				if (!skip_string(input, head))
					return WALK_MALFORMED;
			} else if (head.major == CBOR_ARRAY || head.major == CBOR_MAP || head.major == CBOR_TAG) {
				uint64_t items;
				if (!items_of(&head, *input, &items))
					return WALK_MALFORMED;
				if (open + 1 >= max_open)
					return WALK_TOO_DEEP;
				left[open] = items;
				map[open] = head.major == CBOR_MAP;
				odd[open++] = false;
			} else if (head.info == INDEFINITE || (head.major == CBOR_SIMPLE && head.info == 24 && head.value < 32)) {
				return WALK_MALFORMED;
			}
		}
		while (open && left[open - 1] == 0)
			open--;
		if (open == 0)
			return WALK_GOOD;
	}
}

static bool equals(struct span text, const char *key)
{
	return text.length == strlen(key) && memcmp(text.data, key, text.length) == 0;
}

static bool is_broker_key(struct span text)
{
	return equals(text, TIME_KEY) || equals(text, TOKEN_KEY);
}

/* Whether a text in any form, chunks included, is one of the broker's keys; readers that know a tag drop it. */
static bool reads_as_broker_key(struct span input)
{
	uint8_t text[LONGEST_KEY];
	size_t length = 0;
	struct head head, chunk;
	do {
		if (!read_head(&input, &head))
			return false;
		if (head.major == CBOR_TAG && (head.value == TAG_STRING_REFERENCE || head.value == TAG_SHARED_REFERENCE))
			return true; /* a text that stands elsewhere: nobody can tell */
	} while (head.major == CBOR_TAG);
	if (head.major != CBOR_TEXT)
		return false;
	if (head.info != INDEFINITE)
		return head.value <= input.length && is_broker_key((struct span){input.data, (size_t)head.value});
	while (!at_break(input)) {
		if (!read_head(&input, &chunk) || chunk.major != CBOR_TEXT || chunk.info == INDEFINITE || chunk.value > input.length ||
		    chunk.value > sizeof text - length)
			return false;
		memcpy(text + length, input.data, (size_t)chunk.value);
		length += (size_t)chunk.value;
		(void)skip(&input, chunk.value);
	}
	return is_broker_key((struct span){text, length});
}

/* Whether some reader might find the broker's keys in a map at the top, behind whatever tags. */
static bool has_broker_keys(struct span input)
{
	struct head head;
	do
		if (!read_head(&input, &head))
			return false;
	while (head.major == CBOR_TAG);
	if (head.major != CBOR_MAP)
		return false;
	for (uint64_t i = 0; head.info == INDEFINITE ? !at_break(input) : i < head.value; i++) {
		if (reads_as_broker_key(input))
			return true;
		for (int part = 0; part < 2; part++) {
			enum walk walk = skip_item(&input, MAX_OPEN_LENIENT);
			if (walk != WALK_GOOD)
				return walk == WALK_TOO_DEEP; /* nobody can tell */
		}
	}
	return false;
}

static bool is_signature(struct span input)
{
	struct head head;
	return read_head(&input, &head) && head.major == CBOR_BYTES && head.info != INDEFINITE && head.value == SIGNATURE;
}

/* The key of a pair of a signed datagram: a text that is none of the broker's and differs from those before it. */
static bool read_pair(struct span *input, struct span *keys, size_t count)
{
	struct head head;
	if (!read_head(input, &head) || head.major != CBOR_TEXT || !is_shortest(&head) || head.value > input->length)
		return false;
	keys[count] = (struct span){input->data, (size_t)head.value};
	if (is_broker_key(keys[count]) || !utf8_valid((const char *)keys[count].data, keys[count].length))
		return false;
	for (size_t i = 0; i < count; i++)
		if (keys[i].length == keys[count].length && memcmp(keys[i].data, keys[count].data, keys[i].length) == 0)
			return false;
	(void)skip(input, head.value);
	return true;
}

static bool read_signed(struct span input, struct datagram *found)
{
	struct span keys[MAX_PAIRS];
	struct head head;
	size_t count = 0;
	bool sign = false;
	if (!read_head(&input, &head) || head.major != CBOR_MAP || (head.info != INDEFINITE && !is_shortest(&head)))
		return false;
	found->definite = head.info != INDEFINITE;
	found->pairs = input;
	while (found->definite ? count < head.value : !at_break(input)) {
		if (count == MAX_PAIRS || !read_pair(&input, keys, count))
			return false;
		sign = equals(keys[count++], "SIGN") && is_signature(input);
		if (skip_item(&input, MAX_OPEN) != WALK_GOOD)
			return false;
	}
	found->count = count;
	found->pairs.length -= input.length;
	return sign && input.length == (found->definite ? 0 : 1);
}

enum datagram_kind datagram_read(struct span payload, struct datagram *found)
{
	if (read_signed(payload, found)) /* nothing in it reads otherwise for a lenient reader */
		return DATAGRAM_SIGNED;
	return has_broker_keys(payload) ? DATAGRAM_TAKEN : DATAGRAM_PLAIN;
}

size_t datagram_write(const struct datagram *datagram, int64_t time, struct span token, uint8_t *out)
{
	uint8_t *at = out;
	if (datagram->definite)
		at = cbor_put_head(at, CBOR_MAP, datagram->count + (token.data ? 2 : 1));
	else
		*at++ = CBOR_MAP << 5 | INDEFINITE;
	memcpy(at, datagram->pairs.data, datagram->pairs.length);
	at = cbor_put_text(at + datagram->pairs.length, TIME_KEY, sizeof TIME_KEY - 1);
	at = cbor_put_head(at, CBOR_UINT, (uint64_t)time / 1000000);
	if (token.data) {
		at = cbor_put_text(at, TOKEN_KEY, sizeof TOKEN_KEY - 1);
		at = cbor_put_bytes(at, token.data, token.length);
	}
	if (!datagram->definite)
		*at++ = BREAK;
	return (size_t)(at - out);
}

bool datagram_is_reading(struct span payload)
{
	struct cbor_reader reader = cbor_reader(payload);
	if (cbor_get_head(&reader, CBOR_TAG) != 18 || cbor_get_head(&reader, CBOR_ARRAY) != 4)
		return false;
	(void)cbor_get_string(&reader, CBOR_BYTES);
	uint64_t unprotected = cbor_get_head(&reader, CBOR_MAP);
	(void)cbor_get_string(&reader, CBOR_BYTES);
	struct span signature = cbor_get_string(&reader, CBOR_BYTES);
	return cbor_done(&reader) && unprotected == 0 && signature.length == SIGNATURE;
}
