"""The attester on a real software TPM: the same AK always, quotes that verify, resets that show."""

from __future__ import annotations

from pathlib import Path

import pytest

from sigillo.attestation.attester import KEY_HANDLE, Attester
from sigillo.attestation.error import TpmError
from sigillo.attestation.tpm import RH_OWNER, Tpm
from sigillo.core.attestation import verify_answer, verify_periodic
from sigillo.core.certificate import decode_certificate
from sigillo.core.endorsement import endorsement_fingerprint
from sigillo.core.errors import AttestationError
from sigillo.core.event_log import encode_event_log
from sigillo.core.launch import verify_launch_log
from sigillo.core.quote import LAUNCH_PCR, SELECTION, Quote, check_follows
from sigillo.core.tpm import ATTRIBUTES, encode_attestation_key

from ..adversary.tpm import RawKey
from ..vector.key import filler
from ..vector.sample import EPOCH_ID
from ..vector.sample_tpm import CHALLENGED, CLOSING, LAUNCHES, NONCE, OPENING
from . import rig


def test_quotes_for_the_log_and_for_a_challenge(tpm_folder: Path) -> None:
    with rig.attester_of(tpm_folder) as (attester, _):
        opening = verify_periodic(attester.quote(OPENING), attester.key.name)
        answer = verify_answer(attester.quote(CHALLENGED), attester.key.name, NONCE)
        closing = verify_periodic(attester.quote(CLOSING), attester.key.name)
        check_follows(opening, answer)
        check_follows(answer, closing)


def test_the_launches_that_were_extended_are_those_of_the_log(tpm_folder: Path) -> None:
    with rig.attester_of(tpm_folder) as (attester, tpm):
        before = verify_periodic(attester.quote(OPENING), attester.key.name)
        for event in LAUNCHES:
            tpm.extend(LAUNCH_PCR, event.digest)
        quote = verify_periodic(attester.quote(OPENING), attester.key.name)
        launched = verify_launch_log(encode_event_log(LAUNCHES), quote.launch_pcr)
        assert (launched.epoch_id, launched.launches) == (EPOCH_ID, 2)
        with pytest.raises(AttestationError, match="launched"):
            check_follows(before, quote)


def quoted(folder: Path, running_ms: int = 0) -> Quote:
    """A quote after a reset, once the TPM has run for so long."""
    with rig.attester_of(folder) as (attester, _):
        first = last = verify_periodic(attester.quote(OPENING), attester.key.name)
        while last.clock.clock_ms < first.clock.clock_ms + running_ms:
            last = verify_periodic(attester.quote(OPENING), attester.key.name)
        return last


def test_a_reset_shows_and_the_key_stays(tpm_folder: Path) -> None:
    first, second = quoted(tpm_folder), quoted(tpm_folder)
    assert first.key == second.key
    assert second.clock.reset_count == first.clock.reset_count + 1
    with pytest.raises(AttestationError, match="reset"):
        check_follows(first, second)


def test_a_state_that_was_set_back_shows_to_who_remembers(tmp_path: Path) -> None:
    """Root on the host copies the TPM's state, lets it run, and puts the copy back."""
    folder = rig.made(tmp_path / "t")
    quoted(folder)
    state = folder / "state" / "tpm2-00.permall"
    kept = state.read_bytes()
    later = quoted(folder, running_ms=1500)
    state.write_bytes(kept)
    again = quoted(folder)
    assert again.clock.reset_count == later.clock.reset_count
    with pytest.raises(AttestationError, match="older state"):
        check_follows(later, again)


def test_the_certificate_is_of_the_ek_and_by_the_maker(tpm_folder: Path) -> None:
    with rig.attester_of(tpm_folder) as (attester, _):
        certificate = decode_certificate(attester.endorsement_certificate())
        assert len(endorsement_fingerprint(certificate)) == 32
        assert rig.NAME in certificate.subject.rfc4514_string()


def test_another_key_at_the_aks_handle_is_refused(tmp_path: Path) -> None:
    """Somebody got there first: with a key of the owner's hierarchy, or one that signs anything."""
    free = RawKey(b"", b"", attributes=RawKey(b"", b"").attributes & ~ATTRIBUTES["restricted"])
    folder = rig.made(tmp_path / "t")
    with rig.started(folder):
        tpm = Tpm(rig.link_to(folder))
        with tpm.primary(free.encode()) as (handle, _):
            tpm.persist(handle, KEY_HANDLE)
        with pytest.raises(TpmError, match="another key"):
            Attester.open(tpm)


def test_a_key_of_the_owner_hierarchy_quotes_and_does_not_count(tmp_path: Path) -> None:
    """An owner's key masks reset counts; its attributes are the same, so only the quote tells."""
    folder = rig.made(tmp_path / "t")
    with rig.started(folder):
        tpm = Tpm(rig.link_to(folder))
        with tpm.primary(encode_attestation_key(b"", b""), RH_OWNER) as (handle, _):
            tpm.persist(handle, KEY_HANDLE)
        with pytest.raises(TpmError, match="endorsement hierarchy"):
            Attester.open(tpm).quote(OPENING)


class Meddling(Tpm):
    """Somebody extends a PCR between reading and quoting, *times* times."""

    times = 0

    def read_pcrs(self, indices: object) -> tuple[bytes, ...]:
        values = super().read_pcrs(SELECTION)
        if self.times:
            self.times -= 1
            self.extend(10, filler("a file that IMA measured"))
        return values


def test_a_pcr_that_changes_meanwhile_is_read_again(tpm_folder: Path) -> None:
    with rig.started(tpm_folder):
        tpm = Meddling(rig.link_to(tpm_folder))
        attester = Attester.open(tpm)
        tpm.times = 2
        verify_periodic(attester.quote(OPENING), attester.key.name)
        tpm.times = 1000
        with pytest.raises(TpmError, match="not those of the quote"):
            attester.quote(OPENING)
