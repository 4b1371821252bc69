"""Credentials that wait for an answer: for a day, so many, without their secret."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from sigillo.attestation import waiting
from sigillo.attestation.waiting import LIFETIME_NS, MAX_WAITING, Waiting
from sigillo.core.registration_exchange import Pending

from ..vector.exchange import PENDING

NOW = PENDING.time_ns


def numbered(number: int, time_ns: int = NOW) -> Pending:
    return dataclasses.replace(PENDING, number=number.to_bytes(16, "big"), time_ns=time_ns)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "pending"


def test_one_is_taken_once(folder: Path) -> None:
    Waiting(folder).put(PENDING)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [path.stat().st_mode & 0o777 for path in folder.iterdir()] == [0o600]
    assert Waiting(folder).take(bytes(16), NOW) is None
    assert Waiting(folder).take(PENDING.number, NOW) == PENDING
    assert Waiting(folder).take(PENDING.number, NOW) is None
    assert Waiting(folder.parent / "none").take(PENDING.number, NOW) is None


@pytest.mark.parametrize("later", [LIFETIME_NS + 1, -1])
def test_it_is_gone_when_its_time_is_over_or_the_clock_went_back(folder: Path, later: int) -> None:
    Waiting(folder).put(PENDING)
    assert Waiting(folder).take(PENDING.number, NOW + later) is None
    assert not list(folder.iterdir())


def test_it_lives_for_a_day(folder: Path) -> None:
    Waiting(folder).put(PENDING)
    assert Waiting(folder).take(PENDING.number, NOW + LIFETIME_NS) == PENDING


def test_the_oldest_goes_for_one_more(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_WAITING == 256
    monkeypatch.setattr(waiting, "MAX_WAITING", 3)
    found = Waiting(folder)
    for later, number in enumerate((5, 1, 4, 2, 9)):
        found.put(numbered(number, NOW + later))
    assert sorted(int(path.stem, 16) for path in folder.iterdir()) == [2, 4, 9]


@pytest.mark.parametrize("data", [b"", b"\xa0", b"\0" * 70_000])
def test_a_damaged_one_is_no_challenge(folder: Path, data: bytes) -> None:
    Waiting(folder).put(PENDING)
    (path,) = folder.iterdir()
    path.write_bytes(data)
    assert Waiting(folder).take(PENDING.number, NOW) is None
    assert not path.exists()


def test_one_under_another_number_does_not_count(folder: Path) -> None:
    Waiting(folder).put(PENDING)
    (path,) = folder.iterdir()
    path.rename(folder / f"{bytes(16).hex()}.cbor")
    assert Waiting(folder).take(PENDING.number, NOW) is None
    assert Waiting(folder).take(bytes(16), NOW) is None
