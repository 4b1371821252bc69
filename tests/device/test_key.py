"""Keys, their files and their signatures; `openssl` is the second opinion."""

from __future__ import annotations

import base64
import os
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from sigillo.core.datagram import decode_datagram
from sigillo.core.device_key import Kind, der_signature
from sigillo.core.errors import DecodeError
from sigillo.core.reading import decode_reading
from sigillo.device.error import DeviceError
from sigillo.device.folder import KINDS, load_device_folder, make_device_folder
from sigillo.device.key import (
    generate_signing_key,
    load_certificate,
    load_csr,
    load_public_key,
    load_signing_key,
    public_half,
)
from sigillo.device.message import FORMS, Form, encode_message
from sigillo.device.signer import FileSigner
from sigillo.x509 import spki_of

from .plain_broker import private_pem, public_pem

TOPIC = "braid/agent/crate-1/shadow/reported/"
SIGNERS = {kind: FileSigner(generate_signing_key(kind)) for kind in KINDS}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_private_files_are_private_whatever_the_umask(tmp_path: Path, kind: Kind, umask: int) -> None:
    before = os.umask(umask)
    try:
        folder = make_device_folder(tmp_path / "d", "crate-1", kind).path
    finally:
        os.umask(before)
    assert mode(folder) == 0o700
    for name in ("signing.key.pem", "tls.key.pem", "sequence"):
        assert mode(folder / name) == 0o600
    for name in ("signing.pub.pem", "tls.csr.pem", "device.toml"):
        assert mode(folder / name) == 0o644


@pytest.mark.parametrize("kind", KINDS)
def test_signing_key_is_not_the_tls_key(tmp_path: Path, kind: Kind) -> None:
    device = make_device_folder(tmp_path / "d", "crate-1", kind)
    request = load_csr(device.csr)
    assert request.subject == x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "crate-1")])
    assert spki_of(request.public_key()) == public_half(load_signing_key(device.tls_key)).spki
    assert spki_of(request.public_key()) != load_public_key(device.signing_public).spki
    assert device.signer().public_key == load_public_key(device.signing_public)


def test_existing_folder_is_never_touched(tmp_path: Path) -> None:
    device = make_device_folder(tmp_path / "d", "crate-1", "p256")
    before = {path.name: path.read_bytes() for path in device.path.iterdir() if path.is_file()}
    with pytest.raises(DeviceError, match="never overwritten"):
        make_device_folder(tmp_path / "d", "crate-2", "ed25519")
    assert before == {path.name: path.read_bytes() for path in device.path.iterdir() if path.is_file()}
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(DeviceError, match="never overwritten"):
        make_device_folder(file, "crate-2", "ed25519")


def test_no_half_made_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        make_device_folder(tmp_path / "d", "crate-1", "p256")
    assert list(tmp_path.iterdir()) == []


def test_readable_private_key_is_refused(tmp_path: Path) -> None:
    device = make_device_folder(tmp_path / "d", "crate-1", "p256")
    (device.path / "signing.key.pem").chmod(0o640)
    with pytest.raises(DeviceError, match="chmod 600"):
        device.signer()


def test_exchanged_key_is_noticed(tmp_path: Path) -> None:
    device = make_device_folder(tmp_path / "d", "crate-1", "p256")
    other = make_device_folder(tmp_path / "e", "crate-2", "ed25519")
    (device.path / "signing.key.pem").write_bytes((other.path / "signing.key.pem").read_bytes())
    with pytest.raises(DeviceError, match=r"device\.toml says"):
        device.signer()


@pytest.mark.parametrize(
    ("settings_text", "field"),
    [
        ("", "version"),
        ("version = 2\n", "version"),
        ("version = true\n", "version"),
        ("version = 1\n", "id must"),
        ('version = 1\nid = "a/b"\nkey = "p256"\n', "topics"),
        ('version = 1\nid = "a"\nkey = "rsa"\n', "key must"),
        ('version = 1\nid = "a"\nkey = ["p256"]\n', "key must"),
        ('version = 1\nid = "a"\nkey = "p256"\nmore = 1\n', "'more'"),
        ("version = \n", "is not valid TOML"),
        ("\xff", "is not UTF-8"),
    ],
)
def test_settings_errors_name_file_and_field(tmp_path: Path, settings_text: str, field: str) -> None:
    (tmp_path / "device.toml").write_bytes(settings_text.encode("latin-1"))
    with pytest.raises(DeviceError, match=field) as caught:
        load_device_folder(tmp_path)
    assert "device.toml" in str(caught.value)


def test_folder_round_trip(tmp_path: Path) -> None:
    name = 'ä "\\ b'
    made = make_device_folder(tmp_path / "d", name, "ed25519")
    assert load_device_folder(tmp_path / "d") == made


def openssl_accepts(folder: Path, public: Path, message: bytes, signature: bytes, kind: Kind) -> bool:
    (folder / "message").write_bytes(message)
    (folder / "signature").write_bytes(der_signature(signature) if kind == "p256" else signature)
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", str(public), "-rawin"]
    command += ["-digest", "sha256"] if kind == "p256" else []
    command += ["-in", str(folder / "message"), "-sigfile", str(folder / "signature")]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_openssl_verifies_messages(tmp_path: Path, kind: Kind, form: Form) -> None:
    device = make_device_folder(tmp_path / "d", "crate-1", kind)
    payload = encode_message(form, device.signer(), "crate-1", TOPIC, ver=7, ts=1, body={"TEMP": 12.5})
    message = decode_datagram(payload) if form == "datagram" else decode_reading(payload, TOPIC)
    public = device.signing_public
    assert openssl_accepts(tmp_path, public, message.signed_bytes, message.signature, kind)
    altered = bytearray(message.signed_bytes)
    altered[-3] ^= 1
    assert not openssl_accepts(tmp_path, public, bytes(altered), message.signature, kind)
    if form == "cose":
        other = decode_reading(payload, TOPIC.replace("1", "2"))
        assert not openssl_accepts(tmp_path, public, other.signed_bytes, other.signature, kind)


@given(
    body=st.dictionaries(st.text(max_size=8), VALUES, max_size=30),
    ver=st.integers(1, 2**64 - 1),
    ts=st.integers(0, 2**53) | st.floats(0, 1e15),
    beacon=st.none() | st.binary(min_size=32, max_size=32),
    kind=st.sampled_from(KINDS),
    form=st.sampled_from(FORMS),
)
@settings(max_examples=60, deadline=None)
def test_any_body_is_signed_or_refused(
    body: dict[str, object], ver: int, ts: float, beacon: bytes | None, kind: Kind, form: Form
) -> None:
    signer = SIGNERS[kind]
    try:
        payload = encode_message(form, signer, "crate-1", TOPIC, ver=ver, ts=ts, body=body, beacon=beacon)
    except DecodeError:
        return
    message = decode_datagram(payload) if form == "datagram" else decode_reading(payload, TOPIC)
    signer.public_key.verify(message.signature, message.signed_bytes)
    assert (message.ver, message.ts, message.beacon) == (ver, ts, beacon)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"ver": -1}, "VER"),
        ({"ver": 2**64}, "VER"),
        ({"ts": -1}, "TS"),
        ({"ts": float("nan")}, "TS"),
        ({"beacon": b"x"}, "BEACON"),
    ],
)
@pytest.mark.parametrize("form", FORMS)
def test_values_outside_the_format_are_refused(form: Form, changes: dict[str, object], field: str) -> None:
    fields: dict[str, object] = {"ver": 1, "ts": 1, "body": {}, **changes}
    with pytest.raises(DecodeError, match=field):
        encode_message(form, SIGNERS["p256"], "crate-1", TOPIC, **fields)


def test_other_kinds_of_keys_are_refused(tmp_path: Path) -> None:
    for key in (generate_private_key(SECP384R1()), generate_rsa(65537, 2048)):
        private, public = tmp_path / "key", tmp_path / "pub"
        private.write_bytes(private_pem(key))
        private.chmod(0o600)
        public.write_bytes(public_pem(key.public_key()))
        with pytest.raises(DeviceError, match="neither a P-256 nor an Ed25519"):
            load_signing_key(private)
        with pytest.raises(DeviceError, match="neither a P-256 nor an Ed25519"):
            load_public_key(public)


def test_private_key_is_not_taken_for_a_public_one(tmp_path: Path) -> None:
    device = make_device_folder(tmp_path / "d", "crate-1", "p256")
    with pytest.raises(DeviceError, match="must not leave the device"):
        load_public_key(device.path / "signing.key.pem")


@pytest.mark.parametrize("load", [load_signing_key, load_public_key, load_csr, load_certificate])
@pytest.mark.parametrize("content", [None, b"", b"\xff" * 100, b"-----BEGIN PUBLIC KEY-----\n", b"x" * 100_000])
def test_unreadable_files_are_named(tmp_path: Path, load: object, content: bytes | None) -> None:
    path = tmp_path / "some.pem"
    if content is not None:
        path.write_bytes(content)
        path.chmod(0o600)
    with pytest.raises(DeviceError, match=r"some\.pem"):
        load(path)


def test_altered_request_is_refused(tmp_path: Path) -> None:
    """The request's own signature proves that whoever asks has the TLS key."""
    device = make_device_folder(tmp_path / "d", "crate-1", "p256")
    der = bytearray(load_csr(device.csr).public_bytes(Encoding.DER))
    der[der.index(b"crate-1")] ^= 1
    pem = (
        b"-----BEGIN CERTIFICATE REQUEST-----\n"
        + base64.encodebytes(bytes(der))
        + b"-----END CERTIFICATE REQUEST-----\n"
    )
    device.csr.write_bytes(pem)
    with pytest.raises(DeviceError, match="not signed by its own key"):
        load_csr(device.csr)
