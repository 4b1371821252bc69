"""Attack 34: the honest broker is launched, then somebody brings an epoch key of their own under its launch."""

from __future__ import annotations

import pytest

from sigillo.core.attestation import verify_periodic
from sigillo.core.errors import AttestationError
from sigillo.core.event_log import LoggedEvent, encode_event_log
from sigillo.core.launch import EpochEvent, encode_launch_event, verify_launch_log
from sigillo.core.mark import Checkpoint
from sigillo.core.quote import LAUNCH_PCR, Quote, Subject

from ..adversary.tpm import LyingTpm
from ..vector.accept_tpm import launched
from ..vector.key import filler
from ..vector.sample import EPOCH_ID
from ..vector.sample_tpm import LAUNCH, LAUNCHES, PROCESS

ROGUE = filler("epoch id of a rogue key")


def quoted(tpm: LyingTpm, epoch_id: bytes) -> Quote:
    return verify_periodic(tpm.quote(Subject(epoch_id, Checkpoint())), tpm.key.name)


def launched_epoch(events: tuple[LoggedEvent, ...], quote: Quote) -> bytes:
    return verify_launch_log(encode_event_log(events), quote.launch_pcr).epoch_id


def test_the_honest_epoch_is_the_one_that_was_launched() -> None:
    assert launched_epoch(LAUNCHES, quoted(launched(), EPOCH_ID)) == EPOCH_ID


def test_a_quote_for_the_rogue_epoch_has_no_event_of_it() -> None:
    """Whoever may use the AK can have anything quoted; the launch log still names the epoch that was launched."""
    assert launched_epoch(LAUNCHES, quoted(launched(), ROGUE)) != ROGUE


def test_a_second_epoch_under_the_same_launch_is_refused() -> None:
    tpm, event = launched(), encode_launch_event(EpochEvent(ROGUE, PROCESS))
    tpm.extend(LAUNCH_PCR, [event.digest])
    with pytest.raises(AttestationError, match="without a launch of its own"):
        launched_epoch((*LAUNCHES, event), quoted(tpm, ROGUE))


def test_leaving_the_honest_epoch_out_of_the_log_does_not_replay() -> None:
    tpm, event = launched(), encode_launch_event(EpochEvent(ROGUE, PROCESS))
    tpm.extend(LAUNCH_PCR, [event.digest])
    with pytest.raises(AttestationError, match="does not lead"):
        launched_epoch((*LAUNCHES[:2], event), quoted(tpm, ROGUE))


def test_a_launcher_that_lies_is_not_seen_here() -> None:
    """What level "launched" does not show: a launch event of the honest closure, and another broker. It replays."""
    tpm = LyingTpm()
    lie = (encode_launch_event(LAUNCH), encode_launch_event(EpochEvent(ROGUE, PROCESS)))
    tpm.extend(LAUNCH_PCR, [event.digest for event in lie])
    assert launched_epoch(lie, quoted(tpm, ROGUE)) == ROGUE
