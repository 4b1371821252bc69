"""Second opinion on our COSE objects: the `cwt` library, which shares no code with Sigillo.

Runs by itself in an environment that has `cwt` (locks/oracle.txt); imports nothing of Sigillo.

    cwt_check.py mark      OBJECT EPOCH_KEY
    cwt_check.py statement OBJECT EPOCH_KEY LOG_KEY      with its countersignature (RFC 9338 version 2, label 11)
    cwt_check.py reading   OBJECT DEVICE_KEY TOPIC       a device's COSE payload; the topic is the external_aad
    cwt_check.py batch     < JOBS > REASONS              JSON lists: [[kind, hex object, hex key…, topic], …] -> ["", …]

Keys are files: PEM, or the raw 32 bytes (Ed25519), or the raw point 04 || x || y (P-256). Exit code 0: accepted;
1: refused, with the reason.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from cwt import COSE, COSEKey
from cwt.exceptions import CWTError

ED25519, ESP256 = -19, -9
ALG, KID, TYP, COUNTERSIGNATURE_V2, SALT = 1, 4, 16, 11, -65537
TYPES = {
    "mark": "application/vnd.sigillo.mark+cose",
    "statement": "application/vnd.sigillo.epoch-statement+cose",
    "reading": "application/vnd.sigillo.reading+cose",
}


class Refused(Exception):
    """The object is not what it should be; the text says why."""


REFUSALS = (Refused, CWTError, cbor2.CBORDecodeError, ValueError, TypeError, LookupError, AttributeError)


def check(kind: str, data: bytes, key: bytes, other: bytes = b"") -> None:
    """Raise Refused unless *data* verifies. *other*: the log key of a statement, the topic of a reading."""
    if cbor2.dumps(cbor2.loads(data)) != data:
        raise Refused("not one CBOR item in its usual encoding")
    tagged = cbor2.loads(data)
    if not isinstance(tagged, cbor2.CBORTag) or tagged.tag != 18 or len(tagged.value) != 4:
        raise Refused("not a tagged COSE_Sign1")
    protected = cbor2.loads(tagged.value[0])
    if protected.get(TYP) != TYPES[kind]:
        raise Refused(f"typ is {protected.get(TYP)!r}")
    aad = other if kind == "reading" else b""
    COSE.new().decode_with_headers(data, cose_key(key, protected.get(KID), protected.get(ALG)), external_aad=aad)
    if kind == "statement":
        check_countersignature(tagged.value, other)
    elif set(tagged.value[1]) - ({SALT} if kind == "mark" else set()):
        raise Refused("an unprotected header that has no place here")


def check_countersignature(sign1: list[Any], log_key: bytes) -> None:
    """Exactly one full countersignature of version 2, by the log key, with `cwt` for the cryptography.

    The signed bytes are put together here: `COSEMessage.counterverify` of cwt 3.3 appends the fields after the payload
    one by one, where RFC 9338 section 3.3 has `other_fields: [+ bstr]`, one array of them.
    """
    protected, unprotected, payload, signature = sign1
    entry = unprotected.get(COUNTERSIGNATURE_V2)
    if set(unprotected) != {COUNTERSIGNATURE_V2} or not isinstance(entry, list) or not isinstance(entry[0], bytes):
        raise Refused("not exactly one countersignature in label 11")
    header_bytes, unprotected_too, countersignature = entry
    header = cbor2.loads(header_bytes)
    if header.get(ALG) != ED25519 or unprotected_too:
        raise Refused("the countersignature's headers")
    signed = ["CounterSignatureV2", protected, header_bytes, b"", payload, [signature]]
    cose_key(log_key, header.get(KID), ED25519).verify(cbor2.dumps(signed), countersignature)


def cose_key(raw: bytes, kid: bytes | None, algorithm: int) -> COSEKey:
    """A COSE_Key for verification; the algorithm of the object must be the key's."""
    named = {2: kid} if kid is not None else {}
    if len(raw) == 32 and algorithm == ED25519:
        return COSEKey.new({1: 1, 3: ED25519, -1: 6, -2: raw, **named})
    if len(raw) == 65 and algorithm == ESP256:
        return COSEKey.new({1: 2, 3: ESP256, -1: 1, -2: raw[1:33], -3: raw[33:], **named})
    raise Refused(f"alg {algorithm} is not of this key")


def raw_key(path: str) -> bytes:
    """The raw public key of a file: 32 bytes of Ed25519, or the point of P-256."""
    data = Path(path).read_bytes()
    if not data.startswith(b"-----BEGIN"):
        return data
    key = load_pem_public_key(data)
    if isinstance(key, Ed25519PublicKey):
        return key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    raise Refused(f"{path}: neither Ed25519 nor P-256")


def reason(kind: str, data: bytes, key: bytes, other: bytes = b"") -> str:
    """Why the object is refused, or "" where it is accepted. cwt and cbor2 refuse by several kinds of exceptions."""
    try:
        check(kind, data, key, other)
    except (
        Refused,
        CWTError,
        cbor2.CBORDecodeError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        AttributeError,
    ) as error:
        return str(error) or type(error).__name__
    return ""


def main(arguments: list[str]) -> int:
    """Run one check, or a batch."""
    if arguments == ["batch"]:
        jobs = json.load(sys.stdin)
        json.dump([reason(kind, *map(bytes.fromhex, values)) for kind, *values in jobs], sys.stdout)
        return 0
    if len(arguments) != {"mark": 3, "statement": 4, "reading": 4}.get(arguments[0] if arguments else ""):
        print(__doc__, file=sys.stderr)
        return 2
    kind, file, key, *rest = arguments
    other = b"" if not rest else raw_key(rest[0]) if kind == "statement" else rest[0].encode()
    found = reason(kind, Path(file).read_bytes(), raw_key(key), other)
    print(f"{file}: refused: {found}" if found else f"{file}: cwt accepts this {kind}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
