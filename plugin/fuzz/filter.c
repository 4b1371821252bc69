/* core/filter.c and utf8_valid, each against another way to say the same. Input: a filter, a zero, a topic. */
#include "core/cbor.h"
#include "core/filter.h"
#include "fuzz.h"

static struct span after(struct span text, const uint8_t *slash)
{
	return slash ? (struct span){slash + 1, text.length - (size_t)(slash - text.data) - 1} : (struct span){text.data, 0};
}

/* MQTT 5 section 4.7 level by level. */
static bool matches(struct span filter, struct span topic)
{
	const uint8_t *filter_slash = memchr(filter.data, '/', filter.length), *topic_slash = memchr(topic.data, '/', topic.length);
	struct span wanted = {filter.data, filter_slash ? (size_t)(filter_slash - filter.data) : filter.length};
	struct span given = {topic.data, topic_slash ? (size_t)(topic_slash - topic.data) : topic.length};
	if (wanted.length == 1 && *wanted.data == '#')
		return true;
	if (!(wanted.length == 1 && *wanted.data == '+') && !same_bytes(wanted, given))
		return false;
	struct span more_filter = after(filter, filter_slash), more_topic = after(topic, topic_slash);
	if (!topic_slash)
		return !filter_slash || (more_filter.length == 1 && *more_filter.data == '#');
	return filter_slash && matches(more_filter, more_topic);
}

static bool is_text(struct span text)
{
	while (text.length) {
		uint32_t code = take_byte(&text);
		int more = code < 0x80 ? 0 : (code & 0xe0) == 0xc0 ? 1 : (code & 0xf0) == 0xe0 ? 2 : (code & 0xf8) == 0xf0 ? 3 : -1;
		static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
		if (more < 0 || text.length < (size_t)more)
			return false;
		code &= more == 0 ? 0x7f : 0x3fu >> more;
		for (int i = 0; i < more; i++) {
			uint8_t next = take_byte(&text);
			if ((next & 0xc0) != 0x80)
				return false;
			code = code << 6 | (next & 0x3f);
		}
		if (code < least[more] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
			return false;
	}
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
	struct span filter = {data, zero ? (size_t)(zero - data) : size};
	struct span topic = {zero ? zero + 1 : data, zero ? size - filter.length - 1 : 0};
	const char *text = (const char *)filter.data;
	REQUIRE(utf8_valid((const char *)data, size) == is_text((struct span){data, size}));
	REQUIRE(!zero || !filter_valid((const char *)data, size));
	if (!filter.length || !filter_valid(text, filter.length))
		return 0;
	bool hidden = topic.length && *topic.data == '$' && (*text == '#' || *text == '+');
	bool match = filter_matches(text, filter.length, (const char *)topic.data, topic.length);
	REQUIRE(match == (!hidden && matches(filter, topic)));
	return 0;
}
