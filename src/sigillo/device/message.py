"""Signed messages of a device in either form of spec/datagram.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from sigillo.core.datagram import encode_datagram
from sigillo.core.reading import encode_reading
from sigillo.device.signer import Signer

Form = Literal["datagram", "cose"]
FORMS: tuple[Form, ...] = ("datagram", "cose")
CONTENT_TYPE: Mapping[Form, str] = {
    "datagram": "application/cbor",
    "cose": 'application/cose; cose-type="cose-sign1"',  # RFC 9052 section 11.3.2
}
"""MQTT 5 content type of each form."""


def encode_message(
    form: Form,
    signer: Signer,
    device_id: str,
    topic: str,
    *,
    ver: int,
    ts: int | float,
    body: Mapping[str, object],
    beacon: bytes | None = None,
    indefinite: bool = False,
) -> bytes:
    """Sign one message: *ver* its sequence number, *ts* the device's time (ms of Unix time from 10¹¹ on, else s).

    *beacon*: 32 bytes, the hash of the newest checkpoint that the device has seen (`sigillo.device.beacon`).
    *indefinite*: the map is one of indefinite length, as shipped firmware writes it.
    Only the COSE form binds *topic*; both bind everything else. Raises DecodeError where a value is outside the format.
    """
    if form == "datagram":
        return encode_datagram(ts=ts, ver=ver, body=body, sign=signer.sign, beacon=beacon, indefinite=indefinite)
    return encode_reading(
        topic=topic,
        device_id=device_id,
        algorithm=signer.public_key.algorithm,
        ts=ts,
        ver=ver,
        body=body,
        sign=signer.sign,
        beacon=beacon,
        indefinite=indefinite,
    )
