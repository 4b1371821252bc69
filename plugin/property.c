/* User properties (spec/mark.md, "Carrier property" and "Bridges"): Mosquitto has no call that removes or renames one, so
 * the list is built anew. */
#include "property.h"

#include "core/base64url.h"
#include "core/mark.h"

#include <sodium.h>
#include <string.h>

/* Reading a property returns NULL where there is no memory for the copy; an empty string is NULL on 2.1, "" on 2.0. */

static const char *or_empty(const char *text)
{
	return text ? text : "";
}

static int is_forged(const mosquitto_property *property, bool *forged)
{
	char *name = NULL;
	*forged = false;
	if (mosquitto_property_identifier(property) != MQTT_PROP_USER_PROPERTY)
		return MOSQ_ERR_SUCCESS;
	if (!mosquitto_property_read_string_pair(property, MQTT_PROP_USER_PROPERTY, &name, NULL, false))
		return MOSQ_ERR_NOMEM;
	*forged = strcmp(or_empty(name), PROPERTY) == 0;
	free_property(name);
	return MOSQ_ERR_SUCCESS;
}

static int copy_text(mosquitto_property **to, const mosquitto_property *property, int identifier)
{
	char *text = NULL;
	if (!mosquitto_property_read_string(property, identifier, &text, false))
		return MOSQ_ERR_NOMEM;
	int result = mosquitto_property_add_string(to, identifier, or_empty(text));
	free_property(text);
	return result;
}

static int copy_data(mosquitto_property **to, const mosquitto_property *property, int identifier)
{
	void *data = NULL;
	uint16_t length = 0;
	if (!mosquitto_property_read_binary(property, identifier, &data, &length, false))
		return MOSQ_ERR_NOMEM;
	int result = mosquitto_property_add_binary(to, identifier, data, length);
	free_property(data);
	return result;
}

static int copy_pair(mosquitto_property **to, const mosquitto_property *property, int identifier)
{
	char *name = NULL, *text = NULL;
	if (!mosquitto_property_read_string_pair(property, identifier, &name, &text, false))
		return MOSQ_ERR_NOMEM;
	int result = mosquitto_property_add_string_pair(to, identifier, or_empty(name), or_empty(text));
	free_property(name);
	free_property(text);
	return result;
}

/* Append a copy of one property that a PUBLISH carries into the broker. */
static int copy_property(mosquitto_property **to, const mosquitto_property *property)
{
	int identifier = mosquitto_property_identifier(property);
	uint8_t byte = 0;
	uint32_t number = 0;
	switch (identifier) {
	case MQTT_PROP_PAYLOAD_FORMAT_INDICATOR:
		(void)mosquitto_property_read_byte(property, identifier, &byte, false);
		return mosquitto_property_add_byte(to, identifier, byte);
	case MQTT_PROP_MESSAGE_EXPIRY_INTERVAL:
		(void)mosquitto_property_read_int32(property, identifier, &number, false);
		return mosquitto_property_add_int32(to, identifier, number);
	case MQTT_PROP_CONTENT_TYPE:
	case MQTT_PROP_RESPONSE_TOPIC:
		return copy_text(to, property, identifier);
	case MQTT_PROP_CORRELATION_DATA:
		return copy_data(to, property, identifier);
	case MQTT_PROP_USER_PROPERTY:
		return copy_pair(to, property, identifier);
	default: /* topic alias and subscription identifier are the broker's business, not the message's */
		return MOSQ_ERR_SUCCESS;
	}
}

static int count_forged(const mosquitto_property *properties, uint64_t *count)
{
	*count = 0;
	for (const mosquitto_property *at = properties; at; at = mosquitto_property_next(at)) {
		bool forged;
		int result = is_forged(at, &forged);
		if (result != MOSQ_ERR_SUCCESS)
			return result;
		*count += forged;
	}
	return MOSQ_ERR_SUCCESS;
}

/* A foreign mark under its new name, and its hash. */
static int rename_mark(mosquitto_property **to, const mosquitto_property *property, uint8_t hash[32])
{
	char *value = NULL;
	if (!mosquitto_property_read_string_pair(property, MQTT_PROP_USER_PROPERTY, NULL, &value, false))
		return MOSQ_ERR_NOMEM;
	const char *text = or_empty(value);
	(void)crypto_hash_sha256(hash, (const uint8_t *)text, strlen(text));
	int result = mosquitto_property_add_string_pair(to, MQTT_PROP_USER_PROPERTY, PROPERTY_BEFORE, text);
	free_property(value);
	return result;
}

static int copy_but_forged(mosquitto_property **to, const mosquitto_property *property, struct foreign *foreign)
{
	bool forged;
	int result = is_forged(property, &forged);
	if (result != MOSQ_ERR_SUCCESS)
		return result;
	if (!forged)
		return copy_property(to, property);
	return foreign->kept ? rename_mark(to, property, foreign->hash) : MOSQ_ERR_SUCCESS;
}

/* The end of a list that was `last` before at most one was added. Mosquitto adds by walking from what it is given to the end:
 * from the head that is a square of what a client sends, from the last one nothing. */
static mosquitto_property *end_of(mosquitto_property *last)
{
	mosquitto_property *next = (mosquitto_property *)mosquitto_property_next(last);
	return next ? next : last;
}

int property_strip(mosquitto_property **properties, bool bridge, struct foreign *foreign)
{
	mosquitto_property *kept = NULL, *last = NULL;
	uint64_t count;
	*foreign = (struct foreign){.stripped = 0};
	int result = count_forged(*properties, &count);
	if (result != MOSQ_ERR_SUCCESS || count == 0)
		return result;
	foreign->kept = bridge && count == 1;
	for (const mosquitto_property *at = *properties; at; at = mosquitto_property_next(at)) {
		result = copy_but_forged(last ? &last : &kept, at, foreign);
		if (result != MOSQ_ERR_SUCCESS) {
			mosquitto_property_free_all(&kept);
			return result;
		}
		last = last ? end_of(last) : kept;
	}
	*properties = kept;
	foreign->stripped = foreign->kept ? 0 : count;
	return MOSQ_ERR_SUCCESS;
}

int property_add_mark(mosquitto_property **properties, struct span object)
{
	static char value[BASE64URL_ROOM(MARK_MAX_OBJECT)];
	base64url(object, value);
	return mosquitto_property_add_string_pair(properties, MQTT_PROP_USER_PROPERTY, PROPERTY, value);
}
