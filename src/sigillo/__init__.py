"""Sigillo: a certified, verifiable MQTT broker."""

__version__ = "0.1.0.dev0"
