/* MQTT 5 section 4.7: topic filters. */
#include "core/filter.h"
#include "unit.h"

#include <stdlib.h>
#include <string.h>

/* A copy without the final zero, so that a read behind it is seen. */
static char *bare(const char *text, size_t length)
{
	char *copy = malloc(length ? length : 1);
	memcpy(copy, text, length);
	return copy;
}

static bool matches(const char *filter, const char *topic)
{
	char *bare_filter = bare(filter, strlen(filter)), *bare_topic = bare(topic, strlen(topic));
	bool match = filter_matches(bare_filter, strlen(filter), bare_topic, strlen(topic));
	free(bare_filter);
	free(bare_topic);
	return match;
}

static void filters_match(void)
{
	static const char *const pairs[][2] = {
		{"#", "a"}, {"#", "a/b"}, {"#", "/"}, {"a/#", "a"}, {"a/#", "a/"}, {"a/#", "a/b/c"}, {"+", "a"}, {"+/+", "/a"},
		{"/+", "/a"}, {"+/b", "a/b"}, {"a/+/c", "a/b/c"}, {"a/+/c", "a//c"}, {"a/+", "a/"}, {"a/b", "a/b"}, {"a/", "a/"},
		{"+/+/#", "a/b"}, {"a/+/#", "a/b/c/d"}, {"//", "//"}, {"$SYS/#", "$SYS/x"}, {"$SYS/+", "$SYS/x"}, {"a/#", "a/$b"},
		{"+/$x", "a/$x"}, {"braid/agent/+/shadow/reported/#", "braid/agent/x/shadow/reported"},
		{"braid/agent/+/shadow/reported/#", "braid/agent/x/shadow/reported/"},
	};
	for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
		if (!CHECK(matches(pairs[i][0], pairs[i][1])))
			unit_skip(pairs[i][0], pairs[i][1]);
}

static void filters_do_not_match(void)
{
	static const char *const pairs[][2] = {
		{"a", "b"}, {"a", "A"}, {"a", "a/"}, {"a/", "a"}, {"a", "ab"}, {"ab", "a"}, {"a/b", "a"}, {"a/b", "a/b/c"}, {"+", "a/b"},
		{"+", "/a"}, {"+/+", "a"}, {"a/+", "a"}, {"a/+", "a/b/c"}, {"a/+/c", "a/b"}, {"a/#", "ab"}, {"a/#", "b/a"},
		{"a/+/#", "a"}, {"#", "$SYS"}, {"#", "$SYS/a"}, {"+/a", "$SYS/a"}, {"+", "$x"}, {"/", "a"}, {"/#", "a"},
		{"braid/agent/+/shadow/reported/#", "braid/agent/x/y/shadow/reported/"},
	};
	for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
		if (!CHECK(!matches(pairs[i][0], pairs[i][1])))
			unit_skip(pairs[i][0], pairs[i][1]);
}

static void filters_are_checked(void)
{
	static const char *const good[] = {"a", "/", "#", "+", "a/#", "+/+/#", "a//b", "/+", " "};
	static const char *const bad[] = {"", "a#", "a/#/b", "#/", "##", "a+", "+a", "a/+b/c", "a/b+", "++", "+#", "/#a"};
	for (size_t i = 0; i < sizeof good / sizeof *good; i++)
		CHECK(filter_valid(good[i], strlen(good[i])));
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		CHECK(!filter_valid(bad[i], strlen(bad[i])));
	CHECK(!filter_valid("a\0b", 3));
	char *longest = malloc(65536);
	memset(longest, 'a', 65536);
	CHECK(filter_valid(longest, 65535));
	CHECK(!filter_valid(longest, 65536));
	CHECK(filter_matches(longest, 65535, longest, 65535) && !filter_matches(longest, 65535, longest, 65534));
	free(longest);
}

void filter_tests(void)
{
	RUN(filters_match);
	RUN(filters_do_not_match);
	RUN(filters_are_checked);
}
