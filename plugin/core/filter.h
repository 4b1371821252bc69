/* MQTT topic filters (MQTT 5 section 4.7). */
#ifndef SIGILLO_FILTER_H
#define SIGILLO_FILTER_H

#include <stdbool.h>
#include <stddef.h>

bool filter_valid(const char *filter, size_t length);
/* Whether a topic matches a valid filter. */
bool filter_matches(const char *filter, size_t filter_length, const char *topic, size_t topic_length);

#endif
