from __future__ import annotations

from pathlib import Path

import pytest

from sigillo.broker import log_key
from sigillo.broker.error import BrokerError
from sigillo.broker.log_key import SigningLogKey
from sigillo.core.cose import verify_ed25519
from sigillo.core.note import LogKey
from sigillo.core.sealing import encode_sealed_key
from sigillo.x509 import new_key, private_pem

from ..vector.accept_seal import sealed
from ..vector.key import filler

ORIGIN = "broker.example/log"


def test_it_is_made_once(tmp_path: Path) -> None:
    first = SigningLogKey.open(tmp_path, ORIGIN)
    again = SigningLogKey.open(tmp_path, ORIGIN)
    assert first.public == again.public
    assert (tmp_path / "log.key.pem").stat().st_mode & 0o777 == 0o600
    assert LogKey.from_vkey((tmp_path / "log.vkey").read_text().strip()) == first.public
    verify_ed25519(first.public.public_key, again.sign(b"message"), b"message")


def test_a_lost_key_is_not_replaced_silently(tmp_path: Path) -> None:
    SigningLogKey.open(tmp_path, ORIGIN)
    (tmp_path / "log.key.pem").unlink()
    with pytest.raises(BrokerError, match="put the key back"):
        SigningLogKey.open(tmp_path, ORIGIN)
    assert not (tmp_path / "log.key.pem").exists()


def test_another_origin_is_refused(tmp_path: Path) -> None:
    SigningLogKey.open(tmp_path, ORIGIN)
    with pytest.raises(BrokerError, match="name"):
        SigningLogKey.open(tmp_path, "other.example/log")


@pytest.mark.parametrize("content", [b"", b"nonsense", private_pem(new_key())])
def test_what_is_no_log_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "log.key.pem"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(BrokerError, match=r"log\.key\.pem: .* from your backup"):
        SigningLogKey.open(tmp_path, ORIGIN)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o620])
def test_a_key_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    SigningLogKey.open(tmp_path, ORIGIN)
    path = tmp_path / "log.key.pem"
    path.chmod(mode)
    with pytest.raises(BrokerError, match="chmod 600"):
        SigningLogKey.open(tmp_path, ORIGIN)


class Refusing:
    """A TPM that answers each command with one code."""

    def __init__(self, code: int) -> None:
        self._code = code

    def transmit(self, _command: bytes) -> bytes:
        return bytes.fromhex("8001 0000000a") + self._code.to_bytes(4, "big")

    def close(self) -> None:
        pass


def put_sealed(folder: Path, data: bytes) -> None:
    (folder / "log.key.sealed").write_bytes(data)


@pytest.mark.parametrize(
    ("code", "words"),
    [(0x921, "locked out"), (0x9A2, "owner hierarchy has a password"), (0x101, "failure mode"), (0x1DF, "was cleared")],
)
def test_a_tpm_that_refuses_is_named_with_the_file_and_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, words: str
) -> None:
    put_sealed(tmp_path, encode_sealed_key(sealed()))
    monkeypatch.setattr(log_key, "open_link", lambda _path, _timeout_s: Refusing(code))
    with pytest.raises(BrokerError, match=rf"log\.key\.sealed: the TPM does not give the log key up: .*{words}"):
        SigningLogKey.open(tmp_path, ORIGIN, "/dev/tpmrm0")


def test_a_tpm_that_is_gone_is_named(tmp_path: Path) -> None:
    put_sealed(tmp_path, encode_sealed_key(sealed()))
    with pytest.raises(BrokerError, match=r"log\.key\.sealed: .*nowhere: there is no TPM"):
        SigningLogKey.open(tmp_path, ORIGIN, str(tmp_path / "nowhere"))
    assert not (tmp_path / "log.key.pem").exists(), "no other key in its place"


@pytest.mark.parametrize("data", [b"", b"nonsense", encode_sealed_key(sealed())[:-1]])
def test_a_sealed_key_that_cannot_be_read_is_no_reason_for_a_new_one(tmp_path: Path, data: bytes) -> None:
    put_sealed(tmp_path, data)
    with pytest.raises(BrokerError, match=r"log\.key\.sealed: .*from your backup"):
        SigningLogKey.open(tmp_path, ORIGIN, "/dev/tpmrm0")
    assert not (tmp_path / "log.key.pem").exists()


def test_a_tpm_that_gives_up_another_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_sealed(tmp_path, encode_sealed_key(sealed()))
    monkeypatch.setattr(log_key, "open_link", lambda _path, _timeout_s: Refusing(0))
    monkeypatch.setattr(log_key, "unseal", lambda _tpm, _sealed: filler("another key"))
    with pytest.raises(BrokerError, match="holds another key than it says"):
        SigningLogKey.open(tmp_path, ORIGIN, "/dev/tpmrm0")
