"""Every numbered step of spec/verification.md fails when its row says so; and nothing else makes the proofs."""

from __future__ import annotations

import ast
import dataclasses
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from sigillo.core import history, trusted
from sigillo.core.epoch import decode_statement
from sigillo.core.errors import DecodeError, VerificationError
from sigillo.core.evidence_codec import encode_line
from sigillo.core.evidence_line import EndLine, Header, Trailer
from sigillo.core.line import split_lines
from sigillo.core.mark import Clock, decode_mark
from sigillo.core.policy import ClockTrust, Policy
from sigillo.core.statement import Carrier, HowEnded, MarkedFilter, Mode, Previous, PrincipalSource
from sigillo.core.verdict import Result, Verdict
from sigillo.core.verify import verify

from ..adversary.broker import HASHES, NOW_NS, SECOND, START_NS, Broker, alone
from ..adversary.device import Device, ed25519_key
from ..adversary.story import Story, epochs, failing_steps, honest, messages, needed, outcome, verdict_on

SOURCE = Path(trusted.__file__).parents[1]


def test_an_honest_story_is_verified() -> None:
    story = honest()
    evidence = verify(split_lines([story.broker.file()]), story.policy, NOW_NS)
    assert (evidence.summary.epoch_count, evidence.summary.message_count) == (2, 9)
    assert [used.count for used in evidence.relaxations] == [1, 9, 1, 9]  # no log, no anchor, no witness, no beacon


def test_a_crash_between_epochs_is_noted_not_failed() -> None:
    story = Story()
    story.publish()
    story.broker.die()
    story.publish()
    verdict = verdict_on(story.broker.lines, story.policy)
    assert verdict.verified
    assert "no clean end" in verdict.checks[3].notes.listed[0].text


# step 2


def test_2_a_statement_signed_by_another_key_fails() -> None:
    story = Story()
    story.broker.start(epoch_key=ed25519_key("another").public_key().public_bytes_raw())
    story.publish()
    verdict = verdict_on(story.broker.lines, story.policy)
    assert failing_steps(verdict) == [2]
    assert {check.result for check in verdict.checks[2:13]} == {Result.NOT_CHECKED}


# step 3


@pytest.mark.parametrize("name", ["operator", "log_origin"])
def test_3_another_name_than_the_log_keys_fails(name: str) -> None:
    story = Story()
    story.broker.start(**{name: "another.example"})
    story.publish()
    assert failing_steps(verdict_on(story.broker.lines, story.policy)) == [3]


def test_3_a_log_key_that_the_policy_does_not_pin_fails() -> None:
    story, other = honest(), Broker(seed="other")
    policy = other.policy(*story.devices)
    assert failing_steps(verdict_on(story.broker.lines, policy)) == [3]


def test_3_a_countersignature_by_another_key_fails() -> None:
    story = Story()
    story.broker.start(countersigned_by=ed25519_key("another"))
    story.publish()
    assert failing_steps(verdict_on(story.broker.lines, story.policy)) == [3]


def test_3_a_statement_that_names_another_log_key_fails() -> None:
    """The countersignature is by the pinned key, the statement (key 12) names another."""
    story = Story()
    story.broker.start(log_key_id=b"\x07" * 32)
    story.publish()
    assert failing_steps(verdict_on(story.broker.lines, story.policy)) == [3]


def test_3_a_statement_without_countersignature_fails() -> None:
    story = honest()
    line = epochs(story.broker.lines)[0]
    bare = dataclasses.replace(decode_statement(line.statement).sign1, unprotected={}).encode()
    lines = [dataclasses.replace(line, statement=bare), *story.broker.lines[1:]]
    assert failing_steps(verdict_on(lines, story.policy)) == [3]


# step 4


def test_4_an_epoch_left_out_fails() -> None:
    story = honest()
    story.broker.start()
    story.publish()
    second = epochs(story.broker.lines)[1]
    at = story.broker.lines.index(second)
    lines = [*story.broker.lines[:at], *story.broker.lines[at + 5 :]]
    assert 4 in failing_steps(verdict_on(lines, story.policy))


def test_4_epochs_in_the_wrong_order_fail() -> None:
    story = honest()
    at = story.broker.lines.index(epochs(story.broker.lines)[1])
    assert 4 in failing_steps(verdict_on([*story.broker.lines[at:], *story.broker.lines[:at]], story.policy))


def second_epoch(story: Story, **lies: object) -> Verdict:
    """A second epoch whose statement says something else about the one before it."""
    ended = story.broker._ended
    assert ended
    story.broker.start(previous=dataclasses.replace(ended, **lies))
    story.publish()
    return verdict_on(story.broker.lines, story.policy)


@pytest.mark.parametrize(
    "lies",
    [
        {"epoch_id": b"\x05" * 32},
        {"ended": HowEnded.UNCLEAN},
        {"last_sequence": 7},
        {"last_time_ns": START_NS + 7 * SECOND - 1},
    ],
    ids=lambda lies: next(iter(lies)),
)
def test_4_a_statement_that_denies_the_end_before_it_fails(lies: dict[str, object]) -> None:
    story = Story()
    story.publish(2)
    story.broker.stop()
    assert failing_steps(second_epoch(story, **lies)) == [4]


@pytest.mark.parametrize("lies", [{"last_sequence": 5}, {"last_time_ns": START_NS + 5 * SECOND}], ids=str)
def test_4_a_statement_that_denies_marks_before_it_fails(lies: dict[str, object]) -> None:
    story = Story()
    story.publish(2)
    story.broker.die()
    assert failing_steps(second_epoch(story, **lies)) == [4]


def test_4_an_end_signed_by_another_key_or_of_another_epoch_fails() -> None:
    story = honest()
    first, second = [line for line in story.broker.lines if isinstance(line, EndLine)]
    lines = [second if line is first else line for line in story.broker.lines]
    assert failing_steps(verdict_on(lines, story.policy)) == [4]


def test_4_an_end_before_the_start_fails() -> None:
    story = Story()
    story.broker.start()
    story.broker.stop(time_ns=START_NS - 1)
    story.broker.start(
        previous=Previous(
            HowEnded.CLEAN, decode_statement(epochs(story.broker.lines)[0].statement).epoch_id, 0, START_NS
        )
    )
    story.publish()
    assert failing_steps(verdict_on(story.broker.lines, story.policy)) == [4]


# step 5


def test_5_a_mark_signed_by_another_key_fails() -> None:
    story = Story()
    story.broker.publish(story.first, signed_by=ed25519_key("another"))
    verdict = verdict_on(story.broker.lines, story.policy)
    assert failing_steps(verdict) == [5]
    assert verdict.checks[8].result is Result.NOT_CHECKED


def test_5_a_mark_of_another_epoch_fails() -> None:
    story = honest()
    lines = [*story.broker.lines, messages(story.broker.lines)[0]]
    assert failing_steps(verdict_on(lines, story.policy)) == [5]


def test_5_a_topic_that_no_filter_marks_fails() -> None:
    story = Story()
    story.broker.start(filters=(MarkedFilter("braid/agent/+/shadow/desired/#"),))
    story.publish()
    assert failing_steps(verdict_on(story.broker.lines, story.policy)) == [5]


def test_5_a_signed_mark_on_a_batch_filter_fails() -> None:
    story = Story()
    batch = MarkedFilter("braid/agent/crate-1/#", Mode.BATCH, Carrier.PROPERTY)
    story.broker.start(filters=(batch, MarkedFilter("braid/#")))
    story.publish()
    verdict = verdict_on(story.broker.lines, story.policy)
    assert failing_steps(verdict) == [5]
    assert verdict.checks[4].failures.count == 1  # the first filter that matches decides


# step 6


def test_6_another_topic_or_payload_fails() -> None:
    story = honest()
    line = messages(story.broker.lines)[0]
    at = story.broker.lines.index(line)
    for changed in (
        dataclasses.replace(line, topic=f"{line.topic}live"),
        dataclasses.replace(line, payload=messages(story.broker.lines)[3].payload),
    ):
        lines = [*story.broker.lines[:at], changed, *story.broker.lines[at + 1 :]]
        verdict = verdict_on(lines, story.policy)
        assert failing_steps(verdict) == [6]
        assert verdict.checks[8].result is Result.NOT_CHECKED


def test_6_a_mark_whose_salt_is_gone_fails() -> None:
    story = honest()
    line = messages(story.broker.lines)[0]
    at = story.broker.lines.index(line)
    redacted = dataclasses.replace(decode_mark(line.mark).sign1, unprotected={}).encode()
    lines = [*story.broker.lines[:at], dataclasses.replace(line, mark=redacted), *story.broker.lines[at + 1 :]]
    assert failing_steps(verdict_on(lines, story.policy)) == [6]


# step 7


@pytest.mark.parametrize(
    "lies",
    [
        {"sequence": 2},
        {"time_ns": START_NS + SECOND},
        {"time_ns": NOW_NS + 24 * 3600 * SECOND + 1},
        {"previous": b"\x09" * 32},
        {"count": 1},
    ],
    ids=str,
)
def test_7_a_mark_out_of_order_fails(lies: dict[str, object]) -> None:
    """The last of: crate-1 count 1, crate-2 count 1, crate-1 count 2."""
    story = Story()
    story.broker.publish(story.first)
    story.broker.publish(story.second)
    story.broker.publish(story.first, **lies)
    assert 7 in failing_steps(verdict_on(story.broker.lines, story.policy))


def test_7_a_count_that_grows_by_more_than_the_sequence_fails() -> None:
    story = Story()
    story.broker.publish(story.second)
    story.broker.publish(story.first)
    story.broker.publish(story.first, count=3)
    assert 7 in failing_steps(verdict_on(story.broker.lines, story.policy))


def test_7_two_marks_with_one_sequence_are_named_as_proof() -> None:
    story = Story()
    story.broker.publish(story.first)
    story.broker.publish(story.second, sequence=1)
    assert "proves misbehaviour" in verdict_on(story.broker.lines, story.policy).reason


def test_7_a_mark_before_the_start_of_its_epoch_fails() -> None:
    story = Story()
    story.broker.publish(story.first, time_ns=START_NS - 1)
    assert failing_steps(verdict_on(story.broker.lines, story.policy)) == [7]


def test_7_a_first_mark_that_does_not_start_at_the_epoch_id_fails() -> None:
    story = Story()
    story.broker.publish(story.first, previous=b"\x09" * 32)
    assert failing_steps(verdict_on(story.broker.lines, story.policy)) == [7]


@pytest.mark.parametrize(
    "lies", [{"last_sequence": 2}, {"time_ns": START_NS + 2 * SECOND}, {"last": b"\x06" * 32}], ids=str
)
def test_7_a_mark_after_the_epoch_end_fails(lies: dict[str, object]) -> None:
    story = Story()
    story.publish()
    story.broker.stop(**lies)
    assert failing_steps(verdict_on(story.broker.lines, story.policy)) == [7]


# step 8


@pytest.mark.parametrize(
    ("clock", "permission"),
    [
        (Clock("unsynchronised"), "allow_unsynchronised"),
        (Clock("bound-unknown"), "allow_unknown_bound"),
        (Clock("bounded", SECOND + 1), None),
    ],
)
def test_8_a_clock_that_the_policy_does_not_allow_fails(clock: Clock, permission: str | None) -> None:
    story = Story()
    story.broker.clock = clock
    story.publish()
    assert failing_steps(verdict_on(story.broker.lines, story.policy)) == [8]
    other = {"allow_unsynchronised", "allow_unknown_bound"} - {permission}
    trust = ClockTrust(SECOND, **dict.fromkeys(other, True))
    assert failing_steps(verdict_on(story.broker.lines, dataclasses.replace(story.policy, clock=trust))) == [8]
    if permission:
        allowed = dataclasses.replace(story.policy, clock=ClockTrust(SECOND, **{permission: True}))
        verdict = verdict_on(story.broker.lines, allowed)
        assert verdict.verified
        assert needed(verdict) == [(f"clock.{permission}", 3)]


# step 9


def test_9_an_unauthenticated_principal_fails() -> None:
    story = Story()
    story.broker.start(principal_source=PrincipalSource.UNAUTHENTICATED)
    story.publish()
    assert failing_steps(verdict_on(story.broker.lines, story.policy)) == [9]


def test_9_a_device_that_the_policy_does_not_have_fails() -> None:
    story = Story()
    story.publish()
    policy = story.broker.policy(story.first, story.second)
    assert failing_steps(verdict_on(story.broker.lines, policy)) == [9]


def test_9_an_unsigned_payload_fails() -> None:
    story = Story()
    story.broker.publish(story.first, payload=b"21.5")
    assert failing_steps(verdict_on(story.broker.lines, story.policy)) == [9]


def test_9_a_topic_that_names_no_device_fails() -> None:
    story = Story()
    story.broker.start(filters=(MarkedFilter("#"),))
    story.broker.lines.append(story.broker.mark("elsewhere", story.first.datagram(), story.first.id))
    assert failing_steps(verdict_on(story.broker.lines, story.policy)) == [9]


def test_9_a_reading_under_another_kid_fails() -> None:
    story = Story()
    story.broker.publish(story.first, payload=story.first.reading(device_id="crate-2"))
    verdict = verdict_on(story.broker.lines, story.policy)
    assert 'signed as "crate-2", delivered by "crate-1"' in verdict.reason


def test_9_a_reading_signed_for_another_topic_fails() -> None:
    story = Story()
    story.broker.publish(story.first, payload=story.first.reading(topic=f"{story.first.topic}live"))
    assert failing_steps(verdict_on(story.broker.lines, story.policy)) == [9]


# steps 10 and 11


def test_10_a_message_held_back_fails() -> None:
    story = Story()
    story.publish(3)
    lines = [line for line in story.broker.lines if line != messages(story.broker.lines)[3]]
    assert failing_steps(verdict_on(lines, story.policy)) == [10, 11]


def test_10_a_first_message_of_a_later_epoch_held_back_fails() -> None:
    story = honest()
    second = messages(story.broker.lines)[6]
    story.broker.start()
    story.publish(2)
    lines = [line for line in story.broker.lines if line not in (second, messages(story.broker.lines)[9])]
    verdict = verdict_on(lines, story.policy)
    assert verdict.checks[9].failures.count == 1


def test_10_and_11_what_came_before_the_first_shown_does_not_count() -> None:
    story = Story()
    story.publish(3)
    lines = [story.broker.lines[0], *story.broker.lines[4:]]
    assert verdict_on(lines, story.policy).verified


def test_10_and_11_can_be_allowed() -> None:
    story = Story()
    story.publish(3)
    lines = [line for line in story.broker.lines if line != messages(story.broker.lines)[3]]
    for allowed, failing in (
        (alone(allow_withheld=True), [11]),
        (alone(allow_lost=True), [10]),
        (alone(allow_withheld=True, allow_lost=True), []),
    ):
        verdict = verdict_on(lines, dataclasses.replace(story.policy, missing=allowed))
        assert failing_steps(verdict) == failing
    assert needed(verdict) == [("missing.allow_withheld", 1), ("missing.allow_lost", 1)]


def test_11_numbers_that_the_broker_never_marked_fail() -> None:
    story = Story()
    story.broker.publish(story.first)
    story.first.datagram()
    story.broker.publish(story.first)
    assert failing_steps(verdict_on(story.broker.lines, story.policy)) == [11]


def test_11_a_number_used_twice_fails_even_where_losses_are_allowed() -> None:
    story = Story()
    story.publish(2)
    story.first.number = 0
    story.broker.publish(story.first, payload=story.first.datagram(TEMP=99.0))
    policy = dataclasses.replace(story.policy, missing=alone(allow_withheld=True, allow_lost=True))
    assert failing_steps(verdict_on(story.broker.lines, policy)) == [11]


def test_11_a_late_message_is_named_and_fills_its_gap() -> None:
    story = Story()
    early, late = story.first.datagram(), story.first.datagram()
    third = story.first.datagram()
    for payload in (early, third, late):
        story.broker.publish(story.first, payload=payload)
    verdict = verdict_on(story.broker.lines, story.policy)
    assert verdict.verified
    assert "reordering" in verdict.checks[10].notes.listed[0].text


# steps 12 and 13


@pytest.mark.parametrize("part", HASHES)
def test_12_another_build_fails(part: str) -> None:
    story = Story()
    story.broker.start(**{f"{part}_hash": b"\x77" * 32})
    story.publish()
    verdict = verdict_on(story.broker.lines, story.policy)
    assert failing_steps(verdict) == [12]
    assert part in verdict.reason


def test_12_without_reference_values_fails_unless_the_policy_says_unsafe() -> None:
    story = honest()

    def policy(**changes: object) -> Policy:
        values = {"executable": (HASHES["executable"],)}
        return dataclasses.replace(story.policy, operators=(story.broker.trust(reference_values=values, **changes),))

    verdict = verdict_on(story.broker.lines, policy())
    assert failing_steps(verdict) == [12]
    assert "not compared" in verdict.reason
    assert "plugin, configuration" in verdict.reason
    verdict = verdict_on(story.broker.lines, policy(unsafe_any_build=True))
    assert verdict.verified
    assert [permission for permission, _ in needed(verdict)] == ["operator.unsafe_any_build"]


def test_12_unsafe_any_build_does_not_excuse_a_value_that_differs() -> None:
    story = honest()
    trust = story.broker.trust(reference_values={"plugin": (b"\x01" * 32,)}, unsafe_any_build=True)
    assert failing_steps(verdict_on(story.broker.lines, dataclasses.replace(story.policy, operators=(trust,)))) == [12]


@pytest.mark.parametrize("level", ["launched", "booted", "image", "enclave"])
def test_13_a_higher_level_than_the_evidence_reaches_fails(level: str) -> None:
    story = honest()
    policy = dataclasses.replace(story.policy, operators=(story.broker.trust(level=level),))
    assert failing_steps(verdict_on(story.broker.lines, policy)) == [13]


# order of failures, trust as a type, memory


def test_verify_raises_at_the_first_failing_step_and_names_the_line() -> None:
    story = Story()
    story.publish()
    story.broker.publish(story.first, signed_by=ed25519_key("another"))
    with pytest.raises(VerificationError, match=r"step 5: line 6: ") as caught:
        verify(split_lines([story.broker.file()]), story.policy, NOW_NS)
    assert caught.value.step == 5


def test_trusted_values_cannot_be_made_or_changed_by_others() -> None:
    kinds = [
        kind
        for kind in vars(trusted).values()
        if dataclasses.is_dataclass(kind) and kind.__module__ == trusted.__name__
    ]
    assert len(kinds) == 9
    for kind in kinds:
        arguments = {field.name: None for field in dataclasses.fields(kind)}
        with pytest.raises(TypeError, match="only verification makes"):
            kind(**arguments, token=object())
        with pytest.raises(TypeError):
            kind(**arguments)
    story = honest()
    evidence = verify(split_lines([story.broker.file()]), story.policy, NOW_NS)
    with pytest.raises(ValueError, match="token"):
        dataclasses.replace(evidence, relaxations=())


def test_only_verification_imports_the_token() -> None:
    importers = {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Name) and node.id == "MADE_BY_VERIFY")
        or (isinstance(node, ast.Attribute) and node.attr == "MADE_BY_VERIFY")
        or (isinstance(node, ast.alias) and node.name == "MADE_BY_VERIFY")
    }
    assert importers == {"core/build_step.py", "core/trusted.py", "core/step.py", "core/verify.py"}


def long_file(rounds: int) -> Iterator[bytes]:
    """The lines of a long file, made as they are read."""
    story = Story()
    story.broker.start()
    yield encode_line(Header())
    yield encode_line(story.broker.lines[0])
    for _ in range(rounds):
        yield encode_line(story.broker.publish(story.first))
        story.broker.lines.pop()
        story.broker.signed.pop()
    yield encode_line(Trailer(1, rounds))


def test_memory_does_not_grow_with_the_file() -> None:
    story = Story()
    peaks = []
    for rounds in (100, 1000):
        tracemalloc.start()
        verify(split_lines(long_file(rounds)), story.policy, NOW_NS)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 900 * 250  # the contents seen last: bounded, 200 bytes for each message at most


def test_more_principals_than_memory_allows_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MAX_PRINCIPALS", 2)
    story = honest()
    refusal = outcome(story.broker.file(), story.policy)
    assert isinstance(refusal, DecodeError)
    assert "principals" in str(refusal)


def test_an_epoch_without_messages_is_checked_like_any_other() -> None:
    story = Story()
    story.broker.start()
    story.broker.stop()
    story.broker.start()
    story.publish()
    assert verdict_on(story.broker.lines, story.policy).verified
    lines = [line for line in story.broker.lines if not isinstance(line, EndLine)]
    assert verdict_on(lines, story.policy).verified


def test_two_devices_of_one_file_do_not_share_a_counter() -> None:
    story = Story()
    story.second.number = 1000
    story.publish(2)
    assert verdict_on(story.broker.lines, story.policy).verified


def test_repeats_are_told_by_content_not_by_signature_bytes() -> None:
    """An ECDSA signature has a second form that verifies (r, n − s): the same message all the same."""
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    story = Story()
    payload = story.first.datagram()
    s = int.from_bytes(payload[-32:], "big")
    for copy in (payload, payload[:-32] + (order - s).to_bytes(32, "big")):
        story.broker.publish(story.first, payload=copy)
    verdict = verdict_on(story.broker.lines, story.policy)
    assert verdict.verified
    assert verdict.summary.repeat_count == 1


def test_a_device_in_8_bits_wraps_and_the_verdict_says_what_it_cannot_show() -> None:
    story, small = Story(), Device("crate-8", bits=8, number=254)
    for _ in range(4):
        story.broker.publish(small)
    verdict = verdict_on(story.broker.lines, story.broker.policy(small))
    assert verdict.verified
    assert any("256·k" in limit for limit in verdict.limits)
