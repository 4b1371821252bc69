"""The commands, on a real software TPM; and what it says where it refuses."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from sigillo.attestation.error import TpmError
from sigillo.attestation.tpm import HANDLE, NvPublic, Tpm
from sigillo.core.errors import DecodeError
from sigillo.core.tpm import ATTRIBUTES, decode_attestation_key, encode_attestation_key, sized

from ..adversary.tpm import RawKey
from . import rig

NOTHING_THERE = 0x8101_5399


def test_pcrs_are_extended_as_the_replay_says(tpm_folder: Path) -> None:
    with rig.attester_of(tpm_folder) as (_, tpm):
        every = tuple(range(24))
        before = tpm.read_pcrs(every)
        assert before[13] == bytes(32)
        tpm.extend(13, b"x" * 32)
        after = tpm.read_pcrs(every)
        assert after[13] == hashlib.sha256(bytes(32) + b"x" * 32).digest()
        assert [value for index, value in enumerate(after) if index != 13] == [
            value for index, value in enumerate(before) if index != 13
        ]


def test_a_primary_key_is_the_same_each_time_and_leaves_nothing_behind(tpm_folder: Path) -> None:
    template = encode_attestation_key(b"", b"")
    with rig.attester_of(tpm_folder) as (attester, tpm):
        for _ in range(5):  # more than the TPM has room for at once
            with tpm.primary(template) as (handle, public_bytes):
                assert tpm.read_public(handle) == public_bytes == attester.key.public_bytes


def test_too_many_keys_at_once_are_refused_in_words(tpm_folder: Path) -> None:
    template = encode_attestation_key(b"", b"")
    with rig.attester_of(tpm_folder) as (_, tpm):
        with pytest.raises(TpmError, match="no room for another key"), ExitStack() as stack:
            for _ in range(10):
                stack.enter_context(tpm.primary(template))
        with tpm.primary(template):
            pass


def test_what_is_not_there_is_none(tpm_folder: Path) -> None:
    with rig.attester_of(tpm_folder) as (_, tpm):
        assert tpm.read_public(NOTHING_THERE) is None
        assert tpm.read_nv(0x0180_5399) is None
        with pytest.raises(TpmError) as caught:
            tpm.quote(NOTHING_THERE, bytes(32), [0])
        assert caught.value.code == HANDLE


def test_a_key_that_signs_anything_can_be_made_and_is_refused_by_its_attributes(tpm_folder: Path) -> None:
    """Attack 10 on a real TPM: what it says of such a key is what gives it away."""
    free = RawKey(b"", b"", attributes=RawKey(b"", b"").attributes & ~ATTRIBUTES["restricted"])
    with rig.attester_of(tpm_folder) as (_, tpm), tpm.primary(free.encode()) as (_, public_bytes):
        pass
    with pytest.raises(DecodeError, match="lacks the attribute restricted"):
        decode_attestation_key(public_bytes)


class Scripted:
    """A link whose answers are response codes, one after the other."""

    def __init__(self, codes: Sequence[int]) -> None:
        self._codes = list(codes)
        self.asked = 0

    def transmit(self, command: bytes) -> bytes:
        assert int.from_bytes(command[2:6], "big") == len(command)
        self.asked += 1
        code = self._codes.pop(0) if self._codes else 0
        return b"\x80\x01\0\0\0\x0a" + code.to_bytes(4, "big")

    def close(self) -> None:
        pass


def test_a_tpm_that_is_busy_is_asked_again() -> None:
    link = Scripted([0x922, 0x908, 0x90A, 0])
    Tpm(link).flush(0x8000_0000)
    assert link.asked == 4


@pytest.mark.parametrize(
    ("code", "words"), [(0x921, "locked out"), (0x100, "not started"), (0x101, "failure mode"), (0x98E, "code 0x98e")]
)
def test_refusals_in_words(code: int, words: str) -> None:
    with pytest.raises(TpmError, match=words) as caught:
        Tpm(Scripted([code])).flush(0x8000_0000)
    assert caught.value.code == code


def test_a_tpm_that_is_always_busy_is_given_up() -> None:
    with pytest.raises(TpmError, match="0x922"):
        Tpm(Scripted([0x922] * 100)).flush(0x8000_0000)


class Saying(Scripted):
    """A link whose answers are parameters, one after the other."""

    def __init__(self, parameters: Sequence[bytes]) -> None:
        super().__init__([])
        self._parameters = list(parameters)

    def transmit(self, command: bytes) -> bytes:
        sessions = command[:2] == b"\x80\x02"
        parameters = self._parameters.pop(0)
        body = (len(parameters).to_bytes(4, "big") if sessions else b"") + parameters
        return command[:2] + (10 + len(body)).to_bytes(4, "big") + bytes(4) + body


COUNTER = sized(NvPublic(0x2206_0016, bytes(32), 8).encode(0x0181_0000))


@pytest.mark.parametrize(
    "answers",
    [
        [sized(b"")],
        [COUNTER[:-1]],
        [sized(COUNTER[2:-1])],
        [COUNTER, sized(b"")],
        [COUNTER, sized(bytes(7))],
        [COUNTER, sized(bytes(9))],
        [COUNTER, b"\0"],
    ],
)
def test_nonsense_of_an_nv_index_is_the_tpms_fault(answers: list[bytes]) -> None:
    with pytest.raises(TpmError):
        Tpm(Saying(answers)).read_nv(0x0181_0000)


def test_an_nv_index_as_it_is() -> None:
    assert Tpm(Saying([COUNTER, sized(b"12345678")])).read_nv(0x0181_0000) == b"12345678"
