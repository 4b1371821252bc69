/* The headers of Mosquitto 2.0 and 2.1, and where the two differ. */
#ifndef SIGILLO_BROKER_H
#define SIGILLO_BROKER_H

#include <mosquitto.h>
#include <stdint.h>
#include <stdlib.h>

#if !__has_include(<mosquitto/broker_plugin.h>) /* before 2.1, whose mosquitto.h brings all; the old names warn there */
#include <mosquitto_broker.h>
#include <mosquitto_plugin.h>
#include <mqtt_protocol.h>
#endif

#if LIBMOSQUITTO_VERSION_NUMBER >= 2001000
#define REFUSAL MOSQ_ERR_QUOTA_EXCEEDED
#define free_property mosquitto_free /* what is read of a property is counted as the broker's memory */
#else
#define REFUSAL MOSQ_ERR_ACL_DENIED
#define free_property free
#endif
#define BROKER_FREES_PROPERTIES (LIBMOSQUITTO_VERSION_NUMBER >= 2000015) /* those that a plugin replaced */
/* Versions of one side agree on the three above. */
#define SIDE_OF(version) (((version) >= 2000015) + ((version) >= 2001000))

/* Of 2.1's broker only, whatever library is installed beside it; NULL in another. */
int mosquitto_plugin_set_info(mosquitto_plugin_id_t *, const char *, const char *) __attribute__((weak));

#endif
