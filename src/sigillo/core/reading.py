"""COSE message of a device: spec/datagram.md, "COSE message". The topic is bound by `external_aad`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sigillo.core import cose
from sigillo.core.datagram import DeviceMap, decode_device_map, encode_device_map
from sigillo.core.errors import DecodeError
from sigillo.core.field import integer, text


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading(DeviceMap):
    """A decoded device message, not verified. `algorithm` is COSE's (-9 or -19); `signature` has 64 bytes.

    `signed_bytes` hold for the topic that was given to `decode_reading`, and for no other.
    """

    device_id: str
    algorithm: int
    signed_bytes: bytes
    signature: bytes


def decode_reading(payload: bytes, topic: str) -> Reading:
    """Decode a COSE device message published on `topic`. Raises DecodeError for all that spec/datagram.md refuses."""
    sign1 = cose.decode_sign1(payload, cose.READING)
    try:
        device_id = sign1.kid.decode("utf-8")
    except UnicodeDecodeError:
        raise DecodeError("reading kid", "is not UTF-8") from None
    found = decode_device_map(sign1.payload)
    return Reading(
        ver=found.ver,
        ts=found.ts,
        beacon=found.beacon,
        body_bytes=found.body_bytes,
        device_id=device_id,
        algorithm=integer(sign1.protected[cose.ALG], "reading alg", cose.ED25519, cose.ESP256),
        signed_bytes=sign1.signed_bytes(_topic_bytes(topic)),
        signature=sign1.signature,
    )


def encode_reading(
    *,
    topic: str,
    device_id: str,
    algorithm: int,
    ts: int | float,
    ver: int,
    body: Mapping[str, object],
    sign: Callable[[bytes], bytes],
    beacon: bytes | None = None,
    indefinite: bool = False,
) -> bytes:
    """Make a signed COSE device message for one topic; `algorithm` is -9 (P-256, r ‖ s) or -19 (Ed25519).

    `sign` gets the Sig_structure and returns 64 bytes. Raises DecodeError where a value is outside the format.
    """
    return cose.encode_sign1(
        cose.READING,
        encode_device_map(ts=ts, ver=ver, body=body, beacon=beacon, indefinite=indefinite),
        sign,
        algorithm=algorithm,
        kid=text(device_id, "device id", 1).encode("utf-8"),
        external_aad=_topic_bytes(topic),
    )


def _topic_bytes(topic: str) -> bytes:
    return text(topic, "topic", 1, allow_nul=False).encode("utf-8")
