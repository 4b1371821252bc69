/* The memory of repeats: the newest 65,536 messages, and the bytes of their marks where there is room. */
#include "core/repeat.h"
#include "unit.h"

#include <stdlib.h>
#include <string.h>

static const uint8_t key[REPEAT_KEY] = {3};

static struct mark message(const char *principal, const char *client, const char *topic, const char *payload)
{
	return (struct mark){
		.principal = {(const uint8_t *)principal, strlen(principal)},
		.client_id = {(const uint8_t *)client, strlen(client)},
		.topic = {(const uint8_t *)topic, strlen(topic)},
		.payload = {(const uint8_t *)payload, strlen(payload)},
	};
}

static void only_the_same_message_is_a_repeat(void)
{
	struct repeat_table table;
	uint8_t id[REPEAT_ID], other_id[REPEAT_ID];
	struct mark mark = message("p", "c", "t", "x"), again = message("p", "c", "t", "x");
	CHECK(repeat_init(&table, key));
	mark.sequence = 7, mark.stamp.time = 9; /* of no matter */
	repeat_identify(&table, &mark, id);
	repeat_identify(&table, &again, other_id);
	CHECK(memcmp(id, other_id, sizeof id) == 0 && repeat_find(&table, id) == NULL);
	repeat_add(&table, id, 7, 9, (struct span){NULL, 0});
	CHECK(repeat_find(&table, id) && repeat_find(&table, id)->sequence == 7 && repeat_find(&table, id)->time == 9);
	/* each part changed, and bytes that move from one part to the next */
	struct mark others[] = {
		message("q", "c", "t", "x"), message("p", "d", "t", "x"), message("p", "c", "u", "x"), message("p", "c", "t", "y"),
		message("pc", "", "t", "x"), message("", "pc", "t", "x"), message("p", "", "ct", "x"), message("p", "c", "", "tx"),
		message("p", "ct", "", "x"), message("p", "c", "tx", ""), again, again,
	};
	others[10].qos = 1;
	others[11].retain = true;
	for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
		repeat_identify(&table, &others[i], other_id);
		CHECK(memcmp(id, other_id, sizeof id) != 0 && repeat_find(&table, other_id) == NULL);
	}
	repeat_free(&table);
}

static void key_decides_the_place(void)
{
	static const uint8_t other_key[REPEAT_KEY] = {4};
	struct repeat_table one, other;
	uint8_t id[REPEAT_ID], other_id[REPEAT_ID];
	struct mark mark = message("p", "c", "t", "x");
	CHECK(repeat_init(&one, key) && repeat_init(&other, other_key));
	repeat_identify(&one, &mark, id);
	repeat_identify(&other, &mark, other_id);
	CHECK(memcmp(id, other_id, sizeof id) != 0);
	repeat_free(&one);
	repeat_free(&other);
}

static void numbered(uint8_t id[REPEAT_ID], uint32_t number, bool one_bucket)
{
	memset(id, 0, REPEAT_ID);
	memcpy(id + 4, &number, sizeof number);
	if (!one_bucket)
		memcpy(id, &number, sizeof number);
}

/* The newest are found, the oldest are gone; also where all are in one bucket. */
static void newest_are_remembered(void)
{
	uint8_t id[REPEAT_ID];
	for (int one_bucket = 0; one_bucket < 2; one_bucket++) {
		struct repeat_table table;
		uint32_t count = one_bucket ? REPEAT_REMEMBERED + 300 : 3 * REPEAT_REMEMBERED + 17, good = 0;
		CHECK(repeat_init(&table, key));
		for (uint32_t i = 1; i <= count; i++) {
			numbered(id, i, one_bucket);
			repeat_add(&table, id, i, i, (struct span){NULL, 0});
		}
		for (uint32_t i = count - REPEAT_REMEMBERED + 1; i <= count; i += one_bucket ? 997 : 1) {
			numbered(id, i, one_bucket);
			const struct repeat *found = repeat_find(&table, id);
			good += found && found->sequence == i;
		}
		CHECK(good == (one_bucket ? (REPEAT_REMEMBERED + 996) / 997 : REPEAT_REMEMBERED));
		for (uint32_t i = 1; i <= count - REPEAT_REMEMBERED; i += 7) {
			numbered(id, i, one_bucket);
			if (!CHECK(repeat_find(&table, id) == NULL))
				break;
		}
		repeat_free(&table);
	}
}

static void bytes_are_kept_while_there_is_room(void)
{
	enum { COUNT = 3000 };
	static uint8_t object[MARK_MAX_OBJECT], out[MARK_MAX_OBJECT];
	static size_t lengths[COUNT + 1];
	struct repeat_table table;
	uint8_t id[REPEAT_ID];
	size_t kept = 0, since = 0;
	CHECK(repeat_init(&table, key));
	for (uint32_t i = 1; i <= COUNT; i++) {
		lengths[i] = i % 50 == 0 ? 0 : i % 9 == 0 ? MARK_MAX_OBJECT : 300 + i % 100;
		memset(object, (int)(uint8_t)i, lengths[i]);
		numbered(id, i, false);
		repeat_add(&table, id, i, i, (struct span){object, lengths[i]});
	}
	for (uint32_t i = COUNT; i >= 1; i--) {
		numbered(id, i, false);
		size_t length = repeat_object(&table, repeat_find(&table, id), out);
		since += lengths[i];
		CHECK(length == lengths[i] || (length == 0 && since + MARK_MAX_OBJECT > REPEAT_BYTES));
		CHECK(length == 0 || (out[0] == (uint8_t)i && memcmp(out, out + 1, length - 1) == 0));
		kept += length;
	}
	CHECK(since > 2 * REPEAT_BYTES && kept <= REPEAT_BYTES && kept > REPEAT_BYTES - 2 * MARK_MAX_OBJECT);
	repeat_free(&table);
}

static void bytes_that_were_overwritten_are_gone(void)
{
	static uint8_t object[MARK_MAX_OBJECT], out[MARK_MAX_OBJECT];
	struct repeat_table table;
	uint8_t id[REPEAT_ID];
	CHECK(repeat_init(&table, key));
	numbered(id, 1, false);
	repeat_add(&table, id, 1, 1, (struct span){object, 400});
	const struct repeat *first = repeat_find(&table, id);
	uint32_t number = 2;
	for (size_t written = 400; written + MARK_MAX_OBJECT <= REPEAT_BYTES; written += MARK_MAX_OBJECT, number++) {
		CHECK(repeat_object(&table, first, out) == 400);
		numbered(id, number, false);
		repeat_add(&table, id, number, 1, (struct span){object, MARK_MAX_OBJECT});
	}
	CHECK(repeat_object(&table, first, out) == 400); /* the ring is nearly full */
	numbered(id, number, false);
	repeat_add(&table, id, number, 1, (struct span){object, MARK_MAX_OBJECT});
	CHECK(repeat_object(&table, first, out) == 0);
	repeat_free(&table);
}

void repeat_tests(void)
{
	RUN(only_the_same_message_is_a_repeat);
	RUN(key_decides_the_place);
	RUN(newest_are_remembered);
	RUN(bytes_are_kept_while_there_is_room);
	RUN(bytes_that_were_overwritten_are_gone);
}
