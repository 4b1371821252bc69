/* Mosquitto 2.1 is known by the presence of this header; what the plugin uses is in mosquitto.h here. */
