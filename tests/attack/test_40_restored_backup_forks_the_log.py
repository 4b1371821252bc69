"""Attack 40, 31: a folder put back from a backup is right in itself. Its witnesses know that it was larger, and a
TPM that counts the log knows that it is older."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sigillo.log.error import LogError

from ..attestation import rig as tpm_rig
from ..broker.tpm_counted import Counted
from ..broker.witnessed import Rig, restored
from ..log.operator import check


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    with made.stack:
        yield made


def test_a_restored_backup_never_signs_again(rig: Rig) -> None:
    """Right in itself, so that only a witness can tell; and it stays stopped when nobody tells any more."""
    address = rig.honest()
    restored(rig)
    check(rig.operator)
    before = (rig.operator.log / "public" / "checkpoint").read_bytes()
    for _ in range(2):
        with pytest.raises(LogError, match=r"log/stopped: the witness .* says that it has cosigned 51 entries.*--name"):
            rig.open()
    assert (rig.operator.log / "public" / "checkpoint").read_bytes() == before
    rig.settings = replace(rig.settings, witness=())
    with pytest.raises(LogError, match=f"stopped: the witness {address.key.name}"):
        rig.operator.open()


def test_a_restored_backup_that_went_another_way(rig: Rig) -> None:
    """It was started while no witness could be reached, and is larger now than what they saw."""
    rig.honest()
    restored(rig)
    rig.operator.mark(80, principals=2)
    assert rig.operator.run().head.size > 51, "nobody was asked"
    rig.round(rig.rounds())
    assert rig.states()[-1][1] == "forked", "the running log is told"
    with pytest.raises(LogError, match=r"stopped: .* it has cosigned another tree"):
        rig.open()


def test_without_witnesses_a_tpm_knows(tmp_path: Path) -> None:
    """The copy was made while the log ran, and grew beyond the original before it was noticed: it signs nothing."""
    tpm = tpm_rig.made(tmp_path / "t")
    with tpm_rig.started(tpm):
        counted = Counted(tmp_path, tpm)
        counted.grow(3)
        backup = counted.copy()
        counted.grow(2)
        counted.put_back(backup)
        counted.operator.mark(30)
        before = counted.checkpoint
        with pytest.raises(LogError, match=r"the TPM's counter is at \d+, the newest count .* knows is \d+.*old copy"):
            counted.run()
        assert counted.checkpoint == before
