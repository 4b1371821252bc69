"""Device ids. One text is the `{ID}` in the topic, the MQTT client id, the certificate's CN and the COSE `kid`.

Source: spec/datagram.md (Identity); MQTT 5 section 4.7 (`/ + #` in topics); RFC 5280 appendix A (ub-common-name = 64).
"""

from __future__ import annotations

import unicodedata

from sigillo.device.error import DeviceError

MAX_BYTES = 128
MAX_CHARACTERS = 64
RESERVED_PREFIX = "sigillo-"
_TOPIC_CHARACTERS = frozenset("/+#")


def check_device_id(device_id: str, where: str = "device id") -> str:
    """Return *device_id* if it may name a device; *where* it was found is what the error names.

    Refused: empty; over 64 characters (a certificate's CN) or 128 bytes of UTF-8; a character that is not printable
    or means something in a topic; text that is not in Unicode's NFC, or starts or ends with a space (two ids that
    look the same); a leading dot or hyphen (a folder, an option); the broker's own names, `sigillo-…`.
    Raises DeviceError.
    """
    if fault := _fault(device_id):
        raise DeviceError(
            f"{where} {device_id!a}: {fault}. Use letters, digits, `-`, `_` or `:`; a MAC address is a good one."
        )
    return device_id


def _fault(device_id: str) -> str:
    if not device_id:
        return "it is empty"
    if not device_id.isprintable():
        return "it holds a character that cannot be printed"
    if len(device_id) > MAX_CHARACTERS or len(device_id.encode()) > MAX_BYTES:
        return f"it is longer than {MAX_CHARACTERS} characters or {MAX_BYTES} bytes"
    if _TOPIC_CHARACTERS & set(device_id):
        return "`/`, `+` and `#` have a meaning in MQTT topics"
    if device_id[0] in ".-":
        return "it starts with a dot or a hyphen"
    if device_id != device_id.strip():
        return "it starts or ends with a space"
    if not unicodedata.is_normalized("NFC", device_id):
        return "it is not in Unicode's composed form (NFC)"
    if device_id.casefold().startswith(RESERVED_PREFIX):
        return f"names that start with `{RESERVED_PREFIX}` are the broker's own"
    return ""


def reported_topic(device_id: str) -> str:
    """The topic on which this device reports (BRAID; the trailing slash belongs to it)."""
    return f"braid/agent/{device_id}/shadow/reported/"
