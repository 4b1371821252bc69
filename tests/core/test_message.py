"""The form of a device message is told by its first byte."""

import pytest

from sigillo.core.cose import ED25519
from sigillo.core.datagram import Datagram, encode_datagram
from sigillo.core.errors import DecodeError
from sigillo.core.message import decode_device_message, is_reading
from sigillo.core.reading import Reading, encode_reading
from tests.vector.key import TRACKER_ED25519
from tests.vector.sample import BODY, TOPIC

DATAGRAM = encode_datagram(ts=1, ver=2, body=BODY, sign=TRACKER_ED25519.sign)
READING = encode_reading(
    topic=TOPIC, device_id="crate-1", algorithm=ED25519, ts=1, ver=2, body=BODY, sign=TRACKER_ED25519.sign
)


def test_either_form() -> None:
    assert isinstance(decode_device_message(DATAGRAM, TOPIC), Datagram)
    assert isinstance(decode_device_message(READING, TOPIC), Reading)
    assert (is_reading(DATAGRAM), is_reading(READING)) == (False, True)


@pytest.mark.parametrize("payload", [b"", READING[:1], READING[1:], b"\xd2" + DATAGRAM, DATAGRAM[:-1]])
def test_neither_form(payload: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_device_message(payload, TOPIC)
