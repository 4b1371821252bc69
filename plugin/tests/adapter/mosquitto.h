/* What mosquitto.c uses of Mosquitto 2.1, declared from its documentation, so that this branch of the source is compiled
 * and tested where only 2.0 is installed. Values are those of the API. */
#ifndef SIGILLO_ADAPTER_MOSQUITTO_H
#define SIGILLO_ADAPTER_MOSQUITTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LIBMOSQUITTO_VERSION_NUMBER 2001000
#define MOSQ_PLUGIN_VERSION 5

enum { MOSQ_LOG_NOTICE = 2, MOSQ_LOG_WARNING = 4, MOSQ_LOG_ERR = 8 };
enum {
	MOSQ_ERR_QUOTA_EXCEEDED = -6,
	MOSQ_ERR_SUCCESS = 0,
	MOSQ_ERR_NOMEM = 1,
	MOSQ_ERR_ACL_DENIED = 12,
	MOSQ_ERR_UNKNOWN = 13,
	MOSQ_ERR_PLUGIN_DEFER = 17,
	MOSQ_ERR_ADMINISTRATIVE_ACTION = 152,
};
enum { MOSQ_EVT_RELOAD = 1, MOSQ_EVT_ACL_CHECK = 2, MOSQ_EVT_MESSAGE = 7, MOSQ_EVT_TICK = 9, MOSQ_EVT_DISCONNECT = 10 };
enum { MOSQ_ACL_READ = 1, MOSQ_ACL_WRITE = 2, MOSQ_ACL_SUBSCRIBE = 4 };
enum {
	MQTT_PROP_PAYLOAD_FORMAT_INDICATOR = 1,
	MQTT_PROP_MESSAGE_EXPIRY_INTERVAL = 2,
	MQTT_PROP_CONTENT_TYPE = 3,
	MQTT_PROP_RESPONSE_TOPIC = 8,
	MQTT_PROP_CORRELATION_DATA = 9,
	MQTT_PROP_TOPIC_ALIAS = 35,
	MQTT_PROP_USER_PROPERTY = 38,
};

struct mosquitto;
struct mosquitto_opt;
typedef struct mqtt5__property mosquitto_property;
typedef struct mosquitto_plugin_id_t mosquitto_plugin_id_t;
typedef int (*MOSQ_FUNC_generic_callback)(int, void *, void *);

struct mosquitto_evt_message {
	void *future;
	struct mosquitto *client;
	char *topic;
	void *payload;
	mosquitto_property *properties;
	char *reason_string;
	uint32_t payloadlen;
	uint8_t qos;
	uint8_t reason_code;
	bool retain;
	uint8_t padding;
	void *future2[4];
};

struct mosquitto_evt_acl_check {
	void *future;
	struct mosquitto *client;
	const char *topic;
	const void *payload;
	mosquitto_property *properties;
	int access;
	uint32_t payloadlen;
	uint8_t qos;
	bool retain;
	void *future2[4];
};

struct mosquitto_evt_disconnect {
	void *future;
	struct mosquitto *client;
	int reason;
	void *future2[4];
};

int mosquitto_plugin_version(int, const int *);
int mosquitto_plugin_init(mosquitto_plugin_id_t *, void **, struct mosquitto_opt *, int);
int mosquitto_plugin_cleanup(void *, struct mosquitto_opt *, int);

int mosquitto_lib_version(int *, int *, int *);
int mosquitto_plugin_set_info(mosquitto_plugin_id_t *, const char *, const char *);
int mosquitto_callback_register(mosquitto_plugin_id_t *, int, MOSQ_FUNC_generic_callback, const void *, void *);
int mosquitto_callback_unregister(mosquitto_plugin_id_t *, int, MOSQ_FUNC_generic_callback, const void *);
void mosquitto_log_printf(int, const char *, ...);
const char *mosquitto_client_id(const struct mosquitto *);
const char *mosquitto_client_username(const struct mosquitto *);
int mosquitto_client_protocol_version(const struct mosquitto *);
void *mosquitto_malloc(size_t);
void mosquitto_free(void *);
int mosquitto_broker_publish(const char *, const char *, int, void *, int, bool, mosquitto_property *);

int mosquitto_property_identifier(const mosquitto_property *);
mosquitto_property *mosquitto_property_next(const mosquitto_property *);
void mosquitto_property_free_all(mosquitto_property **);
int mosquitto_property_add_byte(mosquitto_property **, int, uint8_t);
int mosquitto_property_add_int32(mosquitto_property **, int, uint32_t);
int mosquitto_property_add_string(mosquitto_property **, int, const char *);
int mosquitto_property_add_binary(mosquitto_property **, int, const void *, uint16_t);
int mosquitto_property_add_string_pair(mosquitto_property **, int, const char *, const char *);
const mosquitto_property *mosquitto_property_read_byte(const mosquitto_property *, int, uint8_t *, bool);
const mosquitto_property *mosquitto_property_read_int32(const mosquitto_property *, int, uint32_t *, bool);
const mosquitto_property *mosquitto_property_read_string(const mosquitto_property *, int, char **, bool);
const mosquitto_property *mosquitto_property_read_binary(const mosquitto_property *, int, void **, uint16_t *, bool);
const mosquitto_property *mosquitto_property_read_string_pair(const mosquitto_property *, int, char **, char **, bool);

#endif
