"""A signed message of a device, in either form: spec/datagram.md. The first byte tells which."""

from sigillo.core.cose import TAG_BYTES
from sigillo.core.datagram import Datagram, decode_datagram
from sigillo.core.reading import Reading, decode_reading

DeviceMessage = Datagram | Reading


def is_reading(payload: bytes) -> bool:
    """Whether a payload is to be read as a COSE message: it begins with tag 18, which is the head of no map."""
    return payload[:1] == TAG_BYTES


def decode_device_message(payload: bytes, topic: str) -> DeviceMessage:
    """Decode a message published on *topic*; not verified. Raises DecodeError for all that spec/datagram.md refuses."""
    return decode_reading(payload, topic) if is_reading(payload) else decode_datagram(payload)
