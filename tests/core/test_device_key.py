"""Device keys: kinds, fingerprints, raw and DER signatures."""

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from sigillo.core.device_key import DeviceKey, der_signature, raw_signature
from sigillo.core.errors import DecodeError, SignatureError
from tests.vector.key import TRACKER_ED25519, TRACKER_P256, Ed25519Key, P256Key

KEYS: list[Ed25519Key | P256Key] = [TRACKER_P256, TRACKER_ED25519]
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
ED25519_PREFIX = bytes.fromhex("302a300506032b6570032100")


@pytest.mark.parametrize("key", KEYS)
def test_signatures(key: Ed25519Key | P256Key) -> None:
    signature = key.sign(b"message")
    key.device_key.verify(signature, b"message")
    for wrong in (signature[:-1], signature + b"\0", b"", bytes(64), signature[32:] + signature[:32], b"\xff" * 64):
        with pytest.raises(SignatureError):
            key.device_key.verify(wrong, b"message")
    with pytest.raises(SignatureError):
        key.device_key.verify(signature, b"massage")


def test_a_key_of_one_kind_does_not_verify_the_other() -> None:
    for key, other in (KEYS, reversed(KEYS)):
        with pytest.raises(SignatureError):
            key.device_key.verify(other.sign(b"message"), b"message")


@pytest.mark.parametrize("key", KEYS)
def test_fingerprint_is_of_the_spki(key: Ed25519Key | P256Key) -> None:
    spki = key.device_key.spki
    assert key.device_key.fingerprint == hashlib.sha256(spki).hexdigest()
    assert DeviceKey.from_spki(spki) == key.device_key
    assert key.device_key.kind == ("p256" if key is TRACKER_P256 else "ed25519")


@pytest.mark.parametrize("key", KEYS)
def test_cut_or_changed_spki(key: Ed25519Key | P256Key) -> None:
    spki = key.device_key.spki
    for length in range(len(spki)):
        with pytest.raises(DecodeError):
            DeviceKey.from_spki(spki[:length])
    with pytest.raises(DecodeError):
        DeviceKey.from_spki(spki + b"\0")
    for position in range(len(spki)):
        for bit in range(8):
            flipped = bytearray(spki)
            flipped[position] ^= 1 << bit
            try:
                assert DeviceKey.from_spki(bytes(flipped)).fingerprint != key.device_key.fingerprint
            except DecodeError:
                continue


def test_other_keys_are_refused() -> None:
    others: list[PublicKeyTypes] = [
        ec.derive_private_key(5, ec.SECP384R1()).public_key(),
        ec.derive_private_key(5, ec.SECP256K1()).public_key(),
        ed448.Ed448PrivateKey.from_private_bytes(bytes(57)).public_key(),
        rsa.generate_private_key(65537, 2048).public_key(),
    ]
    for other in others:
        with pytest.raises(DecodeError, match="neither a P-256 nor an Ed25519"):
            DeviceKey.from_spki(other.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def test_compressed_point_is_another_spelling() -> None:
    key = TRACKER_P256.private.public_key()
    compressed = key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    uncompressed = TRACKER_P256.device_key.spki
    header = bytearray(uncompressed[:-65])
    header[1] -= 32
    header[-2] -= 32
    with pytest.raises(DecodeError, match="usual encoding"):
        DeviceKey.from_spki(bytes(header) + compressed)


@pytest.mark.parametrize("point", [b"\x01" + bytes(31), bytes(32), b"\xff" * 32, bytes(31) + b"\x80"])
def test_weak_ed25519_keys_are_refused(point: bytes) -> None:
    with pytest.raises(DecodeError, match=r"device\.key: the Ed25519 public key"):
        DeviceKey.from_spki(ED25519_PREFIX + point, "device.key")


@given(st.integers(1, N - 1), st.integers(1, N - 1))
@settings(max_examples=50)
def test_der_and_raw(r: int, s: int) -> None:
    raw = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    assert raw_signature(der_signature(raw)) == raw


@pytest.mark.parametrize(
    "der", [b"", b"\x30\x00", b"\x30\x06\x02\x01\x01\x02\x01\x01\x00", b"\x30\x06\x02\x01\xff\x02\x01\x01"]
)
def test_what_is_no_der_signature(der: bytes) -> None:
    with pytest.raises(SignatureError):
        raw_signature(der)


def test_der_of_a_larger_curve() -> None:
    big = bytes.fromhex("3026") + b"\x02\x21\x01" + bytes(32) + b"\x02\x01\x01"
    with pytest.raises(SignatureError):
        raw_signature(big)
