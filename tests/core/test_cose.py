"""COSE_Sign1: no kind passes as another, no bit is free; Ed25519 keys that bind nothing are refused."""

from collections.abc import Callable

import cbor2
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sigillo.core import cose, epoch, mark
from sigillo.core.datagram import decode_datagram
from sigillo.core.errors import DecodeError, SignatureError
from sigillo.core.handshake import decode_packet
from sigillo.core.reading import decode_reading, encode_reading
from tests.vector import sample
from tests.vector.key import EPOCH, TRACKER_ED25519

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493

READING = encode_reading(
    topic=sample.TOPIC,
    device_id="crate-1",
    algorithm=cose.ED25519,
    ts=1,
    ver=2,
    body={},
    sign=TRACKER_ED25519.sign,
)
OBJECTS: dict[str, bytes] = {
    "mark": sample.FIRST_MARK_OBJECT,
    "batch-mark": sample.FIRST_BATCH_MARK_OBJECT,
    "epoch-statement": sample.FIRST_STATEMENT,
    "epoch-statement countersigned": sample.FIRST_COUNTERSIGNED,
    "epoch-end": sample.FIRST_END_OBJECT,
    "seal": sample.FIRST_SEAL_OBJECT,
    "reading": READING,
}
DECODERS: dict[str, Callable[[bytes], object]] = {
    "mark": mark.decode_mark,
    "batch-mark": mark.decode_batch_mark,
    "epoch-statement": epoch.decode_statement,
    "epoch-end": epoch.decode_epoch_end,
    "seal": epoch.decode_seal,
    "reading": lambda data: decode_reading(data, sample.TOPIC),
    "datagram": decode_datagram,
    "packet": decode_packet,
}


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("kind", OBJECTS)
def test_every_kind_is_refused_as_every_other(kind: str, decoder: str) -> None:
    if kind.split(maxsplit=1)[0] == decoder:
        assert DECODERS[decoder](OBJECTS[kind])
    else:
        with pytest.raises(DecodeError):
            DECODERS[decoder](OBJECTS[kind])


@pytest.mark.parametrize("kind", OBJECTS)
def test_every_truncation_is_refused(kind: str) -> None:
    decode, data = DECODERS[kind.split(maxsplit=1)[0]], OBJECTS[kind]
    for length in range(len(data)):
        with pytest.raises(DecodeError):
            decode(data[:length])


@pytest.mark.parametrize("kind", OBJECTS)
def test_every_bit_flip_is_refused_or_seen(kind: str) -> None:
    decode, data = DECODERS[kind.split(maxsplit=1)[0]], OBJECTS[kind]
    good = decode(data)
    for position in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[position] ^= 1 << bit
            try:
                found = decode(bytes(flipped))
            except DecodeError:
                continue
            assert found != good, f"bit {bit} of byte {position} changes nothing"


@pytest.mark.parametrize("kind", ["mark", "epoch-statement", "epoch-end", "seal"])
def test_every_bit_flip_fails_verification(kind: str) -> None:
    form = next(form for form in (cose.MARK, cose.EPOCH_STATEMENT, cose.EPOCH_END, cose.SEAL) if form.kind == kind)
    data = OBJECTS[kind]
    good = cose.decode_sign1(data, form)
    cose.verify_ed25519(EPOCH.public, good.signature, good.signed_bytes())
    salt = data.find(good.unprotected[cose.SALT]) if good.unprotected else -1
    for position in range(len(data)):
        if salt <= position < salt + mark.SALT_SIZE:
            continue  # the salt is outside the signature; a wrong one fails the commitment
        flipped = bytearray(data)
        flipped[position] ^= 1 << position % 8
        with pytest.raises((DecodeError, SignatureError)):
            found = cose.decode_sign1(bytes(flipped), form)
            cose.verify_ed25519(EPOCH.public, found.signature, found.signed_bytes())


def test_encode_gives_back_what_was_decoded() -> None:
    for form, data in ((cose.MARK, OBJECTS["mark"]), (cose.BATCH_MARK, OBJECTS["batch-mark"])):
        assert cose.decode_sign1(data, form).encode() == data


def test_structures_by_hand() -> None:
    assert cose.signed_bytes(b"p", b"m", b"aad") == cbor2.dumps(["Signature1", b"p", b"aad", b"m"])
    expected = cbor2.dumps(["CounterSignatureV2", b"p", b"c", b"", b"m", [b"s"]])
    assert cose.countersigned_bytes(b"p", b"c", b"m", b"s") == expected


def test_a_form_that_is_signed_cannot_be_made_unsigned() -> None:
    with pytest.raises(DecodeError, match="signature"):
        cose.encode_sign1(cose.MARK, b"", None, kid=bytes(32))
    with pytest.raises(DecodeError, match="key 4 is missing"):
        cose.encode_sign1(cose.MARK, b"", EPOCH.sign)
    with pytest.raises(DecodeError, match="algorithm -9"):
        cose.encode_sign1(cose.MARK, b"", EPOCH.sign, kid=bytes(32), algorithm=cose.ESP256)
    with pytest.raises(DecodeError, match="signature: is 63"):
        cose.encode_sign1(cose.MARK, b"", lambda message: bytes(63), kid=bytes(32))


# Ed25519


def small_order_keys() -> list[bytes]:
    """All canonical encodings of the eight points whose order divides 8, by the curve's own arithmetic."""
    d = -121665 * pow(121666, -1, P) % P
    root = pow(2, (P - 1) // 4, P)

    def x_of(y: int) -> int | None:
        square = (y * y - 1) * pow(d * y * y + 1, -1, P) % P
        x = pow(square, (P + 3) // 8, P)
        for candidate in (x, x * root % P):
            if candidate * candidate % P == square:
                return candidate
        return None

    def double(x: int, y: int) -> tuple[int, int]:
        product = d * x * x * y * y
        return 2 * x * y * pow(1 + product, -1, P) % P, (y * y + x * x) * pow(1 - product, -1, P) % P

    # a point of order 8 doubles to one with y = 0: x² = -y², so d·y⁴ + 2·y² - 1 = 0
    sqrt_1_plus_d = next(
        r for r in (pow(1 + d, (P + 3) // 8, P) * f % P for f in (1, root)) if r * r % P == (1 + d) % P
    )
    squares = [(-1 + sign * sqrt_1_plus_d) * pow(d, -1, P) % P for sign in (1, -1)]
    candidates = [pow(square, (P + 3) // 8, P) * factor % P for square in squares for factor in (1, root)]
    ys = {0, 1, P - 1} | {s * y % P for y in candidates for s in (1, -1) if y * y % P in squares}
    keys = []
    for y in ys:
        x = x_of(y)
        if x is None:
            continue
        point = (x, y)
        for _ in range(3):
            point = double(*point)
        assert point == (0, 1)
        keys += [y.to_bytes(32, "little"), (y | 1 << 255).to_bytes(32, "little")]
    return keys


def test_the_table_of_small_order_keys_is_complete() -> None:
    keys = small_order_keys()
    assert len(keys) == 10  # five y, each with either sign bit; for y = ±1 the sign is not canonical
    for key in keys:
        with pytest.raises(SignatureError, match="small order"):
            cose.check_ed25519_key(key)


def test_a_small_order_key_would_verify_anything() -> None:
    identity, signature = b"\x01" + bytes(31), b"\x01" + bytes(63)
    Ed25519PublicKey.from_public_bytes(identity).verify(signature, b"one message")
    Ed25519PublicKey.from_public_bytes(identity).verify(signature, b"another message")
    with pytest.raises(SignatureError, match="small order"):
        cose.verify_ed25519(identity, signature, b"one message")


def test_keys_that_are_not_canonical_are_refused() -> None:
    for y in range(P, 2**255):
        for sign in (0, 1 << 255):
            with pytest.raises(SignatureError, match="not canonical"):
                cose.check_ed25519_key((y | sign).to_bytes(32, "little"))


def test_signature_is_not_malleable() -> None:
    message = b"message"
    signature = EPOCH.sign(message)
    cose.verify_ed25519(EPOCH.public, signature, message)
    s = int.from_bytes(signature[32:], "little")
    wrong = [
        signature[:32] + (s + ORDER).to_bytes(32, "little"),
        signature[:-1],
        signature + b"\0",
        b"",
        bytes(64),
    ]
    for other in wrong:
        with pytest.raises(SignatureError):
            cose.verify_ed25519(EPOCH.public, other, message)
    with pytest.raises(SignatureError):
        cose.verify_ed25519(EPOCH.public, signature, b"other message")
    with pytest.raises(SignatureError, match="32 bytes"):
        cose.verify_ed25519(EPOCH.public[:-1], signature, message)
    with pytest.raises(InvalidSignature):
        Ed25519PublicKey.from_public_bytes(EPOCH.public).verify(wrong[0], message)
