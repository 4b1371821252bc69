from __future__ import annotations

from pathlib import Path

import pytest

from sigillo.broker.error import BrokerError
from sigillo.broker.log_key import SigningLogKey
from sigillo.broker.published import publish
from sigillo.core.published import decode_published

HASHES = {"executable": b"\1" * 32, "plugin": b"\2" * 32, "configuration": b"\3" * 32}


def test_it_is_written_when_something_changed_and_keeps_what_was(tmp_path: Path) -> None:
    path = tmp_path / "operator.toml"
    key = SigningLogKey.open(tmp_path, "broker.example/log").public
    assert publish(path, "Op", key, HASHES) is True
    assert publish(path, "Op", key, HASHES) is False
    changed = HASHES | {"plugin": b"\4" * 32}
    assert publish(path, "Op", key, changed) is True
    trust = decode_published(path.read_bytes())
    assert (trust.name, trust.log_key) == ("Op", key)
    assert trust.reference_values["plugin"] == (b"\4" * 32, b"\2" * 32)
    assert trust.reference_values["executable"] == (b"\1" * 32,)
    assert publish(path, "Op", key, HASHES) is True
    assert decode_published(path.read_bytes()).reference_values["plugin"] == (b"\2" * 32, b"\4" * 32)


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "operator.toml"
    path.write_text("nonsense")
    with pytest.raises(BrokerError, match=r"operator\.toml"):
        publish(path, "Op", SigningLogKey.open(tmp_path, "broker.example/log").public, HASHES)
