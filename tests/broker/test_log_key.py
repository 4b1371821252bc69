from __future__ import annotations

from pathlib import Path

import pytest

from sigillo.broker.error import BrokerError
from sigillo.broker.log_key import SigningLogKey
from sigillo.core.cose import verify_ed25519
from sigillo.core.note import LogKey
from sigillo.x509 import new_key, private_pem

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
