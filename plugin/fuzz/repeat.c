/* core/repeat.c against a list. Built with a table of 16 messages and 8 KiB, so that both rings turn. Input: operations, a
 * byte each for the message and the length of its object. */
#include "core/repeat.h"
#include "fuzz.h"

#define MODEL 256 /* operations */
#define LONGEST 2040

static struct {
	uint8_t id[REPEAT_ID];
	uint8_t message;
	size_t length;
} model[MODEL];

static void identify(const struct repeat_table *table, uint8_t message, uint8_t id[REPEAT_ID])
{
	const uint8_t topic = (uint8_t)('a' + message % 16), payload = (uint8_t)(message / 16);
	struct mark mark = {.qos = message % 2, .topic = {&topic, 1}, .payload = {&payload, 1}};
	repeat_identify(table, &mark, id);
}

/* The newest of the remembered that is this message; 0: none, else its number from 1. */
static size_t newest(size_t added, uint8_t message)
{
	size_t oldest = added > REPEAT_REMEMBERED ? added - REPEAT_REMEMBERED : 0;
	for (size_t i = added; i > oldest; i--)
		if (model[i - 1].message == message)
			return i;
	return 0;
}

/* Its object's bytes are its own, or gone; and they are there while all since fit, whatever the end of the ring wastes. */
static void check_object(const struct repeat_table *table, const struct repeat *repeat, size_t number, size_t added)
{
	static uint8_t out[MARK_MAX_OBJECT];
	size_t length = repeat_object(table, repeat, out), since = LONGEST;
	REQUIRE(length == 0 || length == model[number - 1].length);
	REQUIRE(length == 0 || (out[0] == (uint8_t)number && memcmp(out, out + 1, length - 1) == 0));
	for (size_t i = number; i <= added; i++)
		since += model[i - 1].length;
	REQUIRE(length == model[number - 1].length || since > REPEAT_BYTES);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t key[REPEAT_KEY] = {1};
	static uint8_t object[LONGEST];
	struct span input = {data, size};
	struct repeat_table table;
	size_t added = 0, operations = 0;
	REQUIRE(repeat_init(&table, key));
	while (input.length && operations++ < MODEL) {
		uint8_t id[REPEAT_ID], message = take_byte(&input);
		size_t length = (size_t)take_byte(&input) * 8, number = newest(added, message);
		identify(&table, message, id);
		const struct repeat *found = repeat_find(&table, id);
		REQUIRE((found != NULL) == (number != 0));
		if (found) {
			REQUIRE(found->sequence == number && found->time == (int64_t)number * 7 && memcmp(found->id, id, REPEAT_ID) == 0);
			check_object(&table, found, number, added);
		}
		if (found && length % 16) /* as the plugin: a message that is remembered is not added again; but it could be */
			continue;
		model[added].message = message;
		model[added++].length = length;
		memset(object, (int)(uint8_t)added, length);
		repeat_add(&table, id, added, (int64_t)added * 7, (struct span){object, length});
	}
	repeat_free(&table);
	return 0;
}
