"""Attack 2 (Keylime CVE-2023-3674): a bad signature is written down somewhere, and the verdict is still good."""

from __future__ import annotations

import dataclasses

import pytest

from sigillo.core.attestation import verify_periodic
from sigillo.core.endorsement import decode_registration, encode_registration, verify_registration
from sigillo.core.epoch import decode_epoch_end, decode_statement
from sigillo.core.errors import AttestationError
from sigillo.core.evidence_line import EndLine, EpochLine, Line, MessageLine
from sigillo.core.mark import decode_mark
from sigillo.core.verdict import Result

from ..adversary.story import failing_steps, honest, verdict_on
from ..adversary.tpm import LyingTpm
from ..vector import accept_tpm
from ..vector.accept_tpm import IDENTITY, REGISTRAR, launched
from ..vector.sample_tpm import OPENING


def last_byte_changed(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def device_signature(line: Line) -> Line:
    """Changes the payload: its mark is then not about it either."""
    assert isinstance(line, MessageLine)
    return dataclasses.replace(line, payload=last_byte_changed(line.payload))


def mark_signature(line: Line) -> Line:
    assert isinstance(line, MessageLine)
    sign1 = decode_mark(line.mark).sign1
    changed = dataclasses.replace(sign1, signature=last_byte_changed(sign1.signature))
    return dataclasses.replace(line, mark=changed.encode())


def statement_signature(line: Line) -> Line:
    assert isinstance(line, EpochLine)
    sign1 = decode_statement(line.statement).sign1
    changed = dataclasses.replace(sign1, signature=last_byte_changed(sign1.signature))
    return dataclasses.replace(line, statement=changed.encode())


def countersignature(line: Line) -> Line:
    assert isinstance(line, EpochLine)
    sign1 = decode_statement(line.statement).sign1
    own, empty, signature = sign1.unprotected[11]
    changed = dataclasses.replace(sign1, unprotected={11: [own, empty, last_byte_changed(signature)]})
    return dataclasses.replace(line, statement=changed.encode())


def end_signature(line: Line) -> Line:
    assert isinstance(line, EndLine)
    sign1 = decode_epoch_end(line.end).sign1
    changed = dataclasses.replace(sign1, signature=last_byte_changed(sign1.signature))
    return dataclasses.replace(line, end=changed.encode())


@pytest.mark.parametrize(
    ("at", "change", "step"),
    [
        (0, statement_signature, 2),
        (0, countersignature, 3),
        (7, end_signature, 4),
        (1, mark_signature, 5),
        (1, device_signature, 6),
    ],
)
def test_one_bad_signature_among_good_ones_decides(at: int, change, step: int) -> None:
    story = honest()
    lines = list(story.broker.lines)
    lines[at] = change(lines[at])
    verdict = verdict_on(lines, story.policy)
    assert not verdict.verified
    assert step in failing_steps(verdict)
    assert verdict.checks[step - 1].result is Result.FAILED


def test_a_bad_device_signature_under_an_honest_mark_decides() -> None:
    """The device (or somebody in its name) sent it so, and the broker marked it."""
    story = honest()
    story.broker.start()
    story.broker.publish(story.first, payload=last_byte_changed(story.first.datagram()))
    assert failing_steps(verdict_on(story.broker.lines, story.policy)) == [9]


@pytest.mark.parametrize("part", ["signature_bytes", "attest_bytes"])
def test_a_quote_is_a_value_only_where_it_verifies(part: str) -> None:
    """There is no quote to go on with: what verifies it returns it, or raises."""
    good = launched().quote(OPENING)
    assert verify_periodic(good, LyingTpm().key.name).subject == OPENING
    changed = dataclasses.replace(good, **{part: last_byte_changed(getattr(good, part))})
    with pytest.raises(AttestationError):
        verify_periodic(changed, LyingTpm().key.name)


def test_a_registration_is_a_key_only_where_it_verifies() -> None:
    good = encode_registration(accept_tpm.registration(), REGISTRAR.public, REGISTRAR.sign)
    assert verify_registration(decode_registration(good), REGISTRAR.public, IDENTITY)
    with pytest.raises(AttestationError):
        verify_registration(decode_registration(last_byte_changed(good)), REGISTRAR.public, IDENTITY)
