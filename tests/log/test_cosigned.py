"""The file `cosigned`: which checkpoint stands in it, whatever comes in which order."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sigillo.core.checkpoint import SignedCheckpoint, TreeHead, encode_checkpoint, sign_checkpoint
from sigillo.core.cosignature import WitnessKey, WitnessKeyType, sign_cosignature, verify_cosignature
from sigillo.core.errors import SignatureError
from sigillo.core.note import LogKey
from sigillo.log.cosigned import Cosigned, read_cosigned
from sigillo.log.error import LogError
from tests.vector import tree
from tests.vector.key import EPOCH, LOG, Ed25519Key, filler

KEY = LogKey("broker.example/log", LOG.public)
PRIVATE = [Ed25519Key(filler(f"witness {number}")) for number in range(3)]
WITNESSES = [WitnessKey(f"w{n}", WitnessKeyType.ED25519, key.public) for n, key in enumerate(PRIVATE)]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    (tmp_path / "public").mkdir()
    return tmp_path


def checkpoint(size: int) -> SignedCheckpoint:
    return sign_checkpoint(TreeHead(KEY.name, size, tree.root(size)), KEY, LOG.sign)


def add(cosigned: Cosigned, size: int, number: int) -> int | None:
    signed = checkpoint(size)
    line = sign_cosignature(signed.note, WITNESSES[number], 1_795_536_000, PRIVATE[number].sign)
    return cosigned.add(signed, WITNESSES[number], line)


def state(log: Path) -> tuple[int, list[int]]:
    """Size, and which witnesses."""
    found = read_cosigned(log)
    if found is None:
        return 0, []
    own, *lines = found.note.signatures
    assert own.name == KEY.name
    counted = []
    for number, witness in enumerate(WITNESSES):
        try:
            verify_cosignature(found.note, witness)
        except SignatureError:
            continue
        counted.append(number)
    assert [line.name for line in lines] == [WITNESSES[number].name for number in counted]
    return found.head.size, counted


def opened(log: Path, quorum: int) -> Cosigned:
    return Cosigned(log, KEY, WITNESSES, quorum)


def test_none_before_the_first(log: Path) -> None:
    assert read_cosigned(log) is None


def test_lines_stand_in_the_order_of_the_settings(log: Path) -> None:
    cosigned = opened(log, 1)
    for number in (2, 0, 1):
        add(cosigned, 5, number)
    assert state(log) == (5, [0, 1, 2])


def test_below_the_quorum_it_goes_forward_and_once_there_only_to_another(log: Path) -> None:
    cosigned = opened(log, 2)
    assert add(cosigned, 5, 0) == 1
    assert add(cosigned, 6, 1) == 1
    assert state(log) == (6, [1])
    assert add(cosigned, 6, 0) == 2
    assert add(cosigned, 7, 0) is None, "one cosignature does not replace two"
    assert state(log) == (6, [0, 1])
    assert add(cosigned, 7, 2) == 2
    assert state(log) == (7, [0, 2])
    assert add(cosigned, 7, 1) == 3
    assert add(cosigned, 8, 0) is None
    assert add(cosigned, 8, 1) == 2, "more than the quorum is worth no more"
    assert add(cosigned, 7, 0) is None


def test_what_comes_late_never_makes_it_smaller(log: Path) -> None:
    cosigned = opened(log, 1)
    add(cosigned, 9, 0)
    for number in range(3):
        assert add(cosigned, 5, number) is None
    assert state(log) == (9, [0])


@settings(max_examples=60)
@given(st.integers(1, 3), st.lists(st.tuples(st.integers(1, 6), st.integers(0, 2)), max_size=25))
def test_the_rule(tmp_path_factory: pytest.TempPathFactory, quorum: int, answers: list[tuple[int, int]]) -> None:
    log = tmp_path_factory.mktemp("log")
    (log / "public").mkdir()
    cosigned = opened(log, quorum)
    before = (0, 0)
    for size, number in answers:
        add(cosigned, size, number)
        found, counted = state(log)
        assert found >= before[0]
        assert min(len(counted), quorum) >= before[1]
        before = (found, min(len(counted), quorum))
        assert cosigned.has(checkpoint(found), WITNESSES[counted[0]])


def test_a_restart_goes_on_from_the_file(log: Path) -> None:
    cosigned = opened(log, 2)
    add(cosigned, 5, 0)
    add(cosigned, 5, 1)
    again = opened(log, 2)
    assert (again.size_of(WITNESSES[0]), again.size_of(WITNESSES[2])) == (5, 0)
    assert add(again, 6, 0) is None
    assert add(again, 5, 2) == 3


def test_a_witness_that_left_the_settings_is_dropped_with_the_next(log: Path) -> None:
    cosigned = opened(log, 1)
    add(cosigned, 5, 0)
    fewer = Cosigned(log, KEY, WITNESSES[1:], 1)
    assert add(fewer, 5, 1) == 1
    assert state(log) == (5, [1])


def test_the_file_of_another_key_is_written_over(log: Path) -> None:
    other = LogKey(KEY.name, EPOCH.public)
    signed = sign_checkpoint(TreeHead(KEY.name, 99, tree.root(99)), other, EPOCH.sign)
    (log / "public" / "cosigned").write_bytes(encode_checkpoint(signed))
    assert add(opened(log, 1), 5, 0) == 1
    assert state(log) == (5, [0])


def test_a_file_that_cannot_be_read_is_named(log: Path) -> None:
    (log / "public" / "cosigned").write_bytes(b"x")
    with pytest.raises(LogError, match=r"public/cosigned: .*; remove it"):
        opened(log, 1)
