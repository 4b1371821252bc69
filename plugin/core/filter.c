/* MQTT topic filters (MQTT 5 section 4.7): `+` one level, `#` the rest and its parent, neither matches a topic that
 * starts with `$` in its first level. */
#include "filter.h"

#include <string.h>

bool filter_valid(const char *filter, size_t length)
{
	if (length == 0 || length > 65535 || memchr(filter, 0, length))
		return false;
	for (size_t i = 0; i < length; i++) {
		bool starts = i == 0 || filter[i - 1] == '/';
		bool ends = i + 1 == length || filter[i + 1] == '/';
		if (filter[i] == '+' && !(starts && ends))
			return false;
		if (filter[i] == '#' && !(starts && i + 1 == length))
			return false;
	}
	return true;
}

static size_t level(const char *at, const char *end)
{
	const char *slash = memchr(at, '/', (size_t)(end - at));
	return (size_t)((slash ? slash : end) - at);
}

bool filter_matches(const char *filter, size_t filter_length, const char *topic, size_t topic_length)
{
	const char *filter_end = filter + filter_length, *topic_end = topic + topic_length;
	if (topic_length && *topic == '$' && filter_length && (*filter == '+' || *filter == '#'))
		return false;
	for (;;) {
		size_t wanted = level(filter, filter_end), given = level(topic, topic_end);
		if (wanted == 1 && *filter == '#')
			return true;
		if (!(wanted == 1 && *filter == '+') && (wanted != given || memcmp(filter, topic, given) != 0))
			return false;
		filter += wanted;
		topic += given;
		bool more_filter = filter < filter_end, more_topic = topic < topic_end;
		if (!more_topic)
			return !more_filter || (filter_end - filter == 2 && filter[1] == '#');
		if (!more_filter)
			return false;
		filter++;
		topic++;
	}
}
