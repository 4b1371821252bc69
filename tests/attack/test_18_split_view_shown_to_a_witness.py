"""Attack 18, 31: an operator with the log key signs two histories, or takes one back.

A witness cosigns one, and forgets nothing; so of two histories at most one gets the cosignatures of more than half.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from sigillo.core.accusation import decode_accusation, prove
from sigillo.core.policy import decode_policy
from sigillo.core.witness import Answer, read_lines, read_size
from sigillo.witness.key import SigningWitnessKey
from sigillo.witness.memory import Memory
from sigillo.witness.witness import Witness

from ..core.policy_case import BROKER, MINIMAL
from ..witness.rig import COMMON, KEY, checkpoint, request

WITNESSES = 3


@pytest.fixture
def witnesses(tmp_path: Path) -> list[Witness]:
    made = []
    for number in range(WITNESSES):
        folder = tmp_path / f"w{number}"
        folder.mkdir()
        key = SigningWitnessKey.open(folder, f"w{number}", None)
        memory = Memory(folder, key.public)
        memory.follow(KEY)
        made.append(Witness(key, memory, lambda: 1_795_536_000.0, lambda _said: None))
    return made


def show(witness: Witness, size: int, name: str) -> Answer:
    """As a log does that will have its cosignature: from 0, and again from where the witness says that it is."""
    answer = witness.add_checkpoint(request(0, size, name))
    if answer.status == 409 and read_size(answer) <= size:
        answer = witness.add_checkpoint(request(read_size(answer), size, name))
    return answer


def test_two_histories_never_both_get_a_majority(witnesses: list[Witness]) -> None:
    """Whoever is shown which one first, and whatever is tried then."""
    for first, second, size in itertools.product("ab", "ab", (COMMON + 10, COMMON + 50)):
        for witness, name in zip(witnesses, (first, second, "a"), strict=True):
            show(witness, size, name)
        for name in "ab":
            for witness in witnesses:
                show(witness, size + 5, name)
    cosigned = dict.fromkeys("ab", 0)
    for witness in witnesses:
        newest = witness.memory.newest(KEY.name)
        assert newest
        for name in "ab":
            cosigned[name] += newest[0].head == checkpoint(newest[0].head.size, name).head
    assert sorted(cosigned.values())[0] <= WITNESSES // 2
    assert sum(cosigned.values()) == WITNESSES


def test_the_second_history_is_refused_at_every_size(witnesses: list[Witness]) -> None:
    witness = witnesses[0]
    assert show(witness, 100, "a").status == 200
    assert show(witness, 100, "b").status == 409
    assert show(witness, 150, "b").status == 422
    assert show(witness, 50, "b").status == 409
    answer = show(witness, 150, "a")
    assert answer.status == 200
    read_lines(answer.body, checkpoint(150, "a").note, witness.key.public)


def test_the_witness_makes_the_proof_that_sigillo_verify_reads(witnesses: list[Witness], tmp_path: Path) -> None:
    show(witnesses[0], 100, "a")
    show(witnesses[0], 100, "b")
    [path] = (tmp_path / "w0" / "accusations").iterdir()
    policy = decode_policy(MINIMAL.replace(BROKER.log_key.vkey, KEY.vkey).encode())
    assert "two histories, of size 100 and 100" in prove(decode_accusation(path.read_bytes()), policy)


def test_a_log_that_is_rolled_back_is_told_what_was_seen(witnesses: list[Witness]) -> None:
    show(witnesses[0], 100, "a")
    for size in (0, 1, 50, 99):
        answer = show(witnesses[0], size, "a")
        assert (answer.status, read_size(answer)) == (409, 100)


def test_a_quorum_of_one_witness_each_sees_no_split_view(witnesses: list[Witness]) -> None:
    """The limit: two witnesses that are each shown their own history both cosign. Only a majority closes it."""
    assert show(witnesses[0], 100, "a").status == show(witnesses[1], 100, "b").status == 200
