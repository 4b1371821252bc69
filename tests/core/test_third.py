"""Steps 17 to 20 of spec/verification.md on honest files: what is demanded, permitted, pending; who must have lied."""

from __future__ import annotations

import dataclasses
import datetime
import json
from pathlib import Path

import jsonschema
import pytest

from sigillo.core import bracket, third
from sigillo.core.appraise import appraise
from sigillo.core.bracket import Anchor, Bound, Group, Waiting
from sigillo.core.certificate import validity
from sigillo.core.errors import DecodeError
from sigillo.core.evidence_codec import encode_line
from sigillo.core.evidence_line import CertificateLine, TokenLine
from sigillo.core.line import split_lines
from sigillo.core.mark import Clock
from sigillo.core.policy import AnchorTrust, ClockTrust, MissingTrust, Policy
from sigillo.core.verdict import Result, Verdict

from ..adversary.broker import NOW_NS, SECOND, START_NS, Broker, alone
from ..adversary.cosigner import Witness
from ..adversary.log import logged, logged_file
from ..adversary.maker import Maker
from ..adversary.maker import line as certificate_line
from ..adversary.story import Story, failing_steps, outcome, verdict_on
from ..adversary.third import MINUTE, ONE, ThirdStory, bracketed
from ..adversary.tsa import Tsa

SCHEMA = json.loads((Path(__file__).parents[2] / "spec" / "verdict.schema.json").read_text())
TSAS, OPERATOR = ("TSA A", "TSA B"), "operator Example Broker"
BARE = MissingTrust()


def result(verdict: Verdict, step: int) -> Result:
    return verdict.checks[step - 1].result


def test_with_third_parties_nothing_needs_permission() -> None:
    verdict = bracketed().judged()
    assert verdict.verified
    assert verdict.relaxations == ()
    assert {check.step for check in verdict.checks if check.result is not Result.PASSED} == {21, 22, 23, 24}
    assert {check.result for check in verdict.checks[20:]} == {Result.MISSING}
    jsonschema.Draft202012Validator(SCHEMA).validate(verdict.to_json())


def test_the_bounds_and_what_they_rest_on() -> None:
    """Both TSAs stamp the same note at the same time: one second either way, since they state no accuracy."""
    story = bracketed()
    bounds = story.judged().to_json()["bounds"]
    before, over = story.log.tokens[:2], story.log.tokens[2:]
    for name, tokens in (("signed_after", before), ("marked_after", before), ("marked_not_later_than", over)):
        span = bounds[name]
        assert span["first"] == span["last"]
        assert (span["count"], span["lacking"], span["who_must_have_lied"]) == (2, 0, [list(TSAS)])
        shown = [(token["tsa"], token["entry"]) for token in span["first"]["tokens"]]
        assert shown == [(tsa.name, token.index) for tsa, token in zip(story.tsas, tokens, strict=True)]
    assert bounds["marked_after"]["first"]["time_ns"] == START_NS + SECOND
    assert bounds["widest_ns"] == bounds["marked_not_later_than"]["first"]["time_ns"] - START_NS - SECOND
    assert bounds["device_clock"] == "not contradicted"


def test_who_must_have_lied() -> None:
    checks = bracketed().judged().checks
    assert checks[16].liars == (("TSA A",), ("TSA B",))
    assert checks[17].liars == checks[19].liars == (TSAS,)
    assert checks[18].liars == tuple((OPERATOR, f"witness w{number}") for number in (1, 2, 3))


@pytest.mark.parametrize(
    ("permission", "steps"),
    [
        ("allow_unlogged", [14]),
        ("allow_unanchored", [18]),
        ("allow_unwitnessed", [19]),
        ("allow_no_beacon", [20]),
    ],
)
def test_each_absence_needs_its_own_permission(permission: str, steps: list[int]) -> None:
    story = Story()
    story.publish()
    strict = dataclasses.replace(alone(), **{permission: False})
    verdict = verdict_on(story.broker.lines, dataclasses.replace(story.policy, missing=strict))
    assert failing_steps(verdict) == steps
    assert f"(policy: missing.{permission} = false)" in verdict.checks[steps[0] - 1].failures.listed[0].text
    assert verdict_on(story.broker.lines, story.policy).verified


def test_absent_is_missing_and_never_passed() -> None:
    story = Story()
    story.publish()
    verdict = verdict_on(story.broker.lines, story.policy)
    assert {check.result for check in verdict.checks[13:]} == {Result.MISSING}
    assert not any(check.liars for check in verdict.checks[13:])


def test_a_policy_without_a_tsa_takes_no_token() -> None:
    story = bracketed()
    verdict = story.judged(story.trust(tsas=(), anchors=None))
    assert failing_steps(verdict) == [18]
    assert "the policy names no TSA" in verdict.checks[16].notes.listed[0].text


def pending() -> ThirdStory:
    """A message after which nothing was anchored."""
    story = bracketed()
    story.signed(story.first)
    return story


def test_pending_until_there_is_an_upper_bound() -> None:
    verdict = pending().judged()
    assert failing_steps(verdict) == [18]
    assert "pending" in verdict.checks[17].failures.listed[0].text
    story = pending()
    allowed = story.judged(story.trust(missing=MissingTrust(allow_unanchored=True)))
    assert allowed.verified
    later = allowed.summary.bounds.not_later
    assert later and (later.count, later.lacking) == (2, 1)
    assert [(used.permission, used.count) for used in allowed.relaxations] == [("missing.allow_unanchored", 1)]
    story.anchor()
    assert story.judged().verified


def test_one_tsa_of_two_is_pending_too() -> None:
    story = pending()
    story.anchor(story.tsas[1])
    assert failing_steps(story.judged()) == [18]
    assert story.judged(story.trust(anchors=ONE)).verified


def test_a_tsa_that_is_down_for_an_hour_delays_and_spoils_nothing() -> None:
    """Its token comes late, about the old note, and stands in the log where it came."""
    story = bracketed()
    story.signed(story.first)
    story.log.append()
    note, first, second = story.log.note(), *story.tsas
    story.log.anchor(first, story.broker.clock_ns + 2 * SECOND, note, accuracy=b"")
    story.broker.clock_ns += 60 * MINUTE
    story.signed(story.second)
    story.anchor(first)
    story.log.anchor(second, story.broker.clock_ns, note, accuracy=b"")
    story.anchor(second)
    assert failing_steps(story.judged()) == [18]  # the bracket of an hour
    patient = story.trust(anchors=AnchorTrust(2, 120 * MINUTE))
    assert story.judged(patient).verified


def test_a_mark_that_names_nothing_has_no_lower_bound() -> None:
    story = ThirdStory()
    story.signed(story.first, beacon=bytes(32))
    story.anchor()
    allowed = MissingTrust(allow_unanchored=True)
    verdict = story.judged(story.trust(missing=allowed))
    assert failing_steps(verdict) == [20]
    assert "these marks name no checkpoint (size 0)" in verdict.checks[17].notes.listed[0].text
    assert verdict.summary.bounds.marked_after is None
    assert verdict.summary.bounds.not_later
    assert 18 in failing_steps(story.judged())


def test_a_beacon_without_a_token_inside_is_the_brokers_word() -> None:
    story = ThirdStory()
    story.broker.start()
    story.signed(story.first)
    story.anchor()
    policy = story.trust(missing=MissingTrust(allow_unanchored=True))
    verdict = story.judged(policy)
    assert verdict.verified
    signed = verdict.summary.bounds.signed_after
    assert signed and signed.first.time_ns == START_NS
    assert signed.liars == verdict.checks[19].liars == ((OPERATOR,),)


def test_messages_without_a_beacon_are_counted() -> None:
    story = bracketed()
    story.broker.publish(story.first)
    story.anchor()
    assert failing_steps(story.judged()) == [20]
    verdict = story.judged(story.trust(missing=MissingTrust(allow_no_beacon=True)))
    assert verdict.verified
    assert result(verdict, 20) is Result.PASSED
    assert verdict.checks[19].notes.listed[0].text.startswith("no beacon")
    signed = verdict.summary.bounds.signed_after
    assert signed and (signed.count, signed.lacking) == (2, 1)


def test_without_a_log_a_beacon_bounds_nothing() -> None:
    story = Story()
    story.broker.publish(story.first, payload=story.first.datagram(beacon=bytes(32)))
    verdict = verdict_on(story.broker.lines, story.policy)
    assert third.UNPROVEN_BEACON in verdict.limits
    assert result(verdict, 20) is Result.MISSING


def test_tokens_and_stops_may_stand_before_the_first_epoch_shown() -> None:
    """Evidence of the second epoch only: what bounds it from below was logged in the first."""
    story = ThirdStory()
    story.broker.start()
    story.log.sign()
    story.broker.publish(story.third)
    story.broker.stop()
    story.anchor()
    story.broker.start()
    story.signed(story.first)
    story.anchor()
    second = next(at for at, line in enumerate(story.broker.lines) if at and line.kind == "epoch")
    shown = story.log.lines(story.broker.lines[second:])
    assert any(isinstance(line, TokenLine) and line.epoch == 1 for line in shown[:3])
    parts = {"note": story.note(), "notes": story.log.beacons}
    verdict = outcome(logged_file(shown, story.log.read, **parts), story.trust())
    assert isinstance(verdict, Verdict)
    assert verdict.verified, verdict.reason


def test_a_quorum_that_is_no_majority_is_said() -> None:
    story = bracketed()
    verdict = story.judged(story.trust(witness_quorum=1))
    assert verdict.verified
    assert any("no majority" in limit for limit in verdict.limits)
    assert verdict.checks[18].liars == ((OPERATOR,),)


def test_the_witnesses_that_saw_it_are_named() -> None:
    story = bracketed()
    note = story.note(*story.witnesses[:2])
    verdict = story.judged(note=note)
    assert verdict.verified
    assert verdict.to_json()["log"]["witnesses"] == ["w1", "w2"]
    alone_with_it = story.judged(note=story.log.note())
    assert failing_steps(alone_with_it) == [19]
    assert "a split view would not be seen (0 of 2 witnesses)" in alone_with_it.checks[18].failures.listed[0].text
    allowed = story.judged(story.trust(missing=MissingTrust(allow_unwitnessed=True)), note=story.log.note())
    assert allowed.verified
    assert result(allowed, 19) is Result.MISSING


def test_a_witness_of_the_operator_never_counts() -> None:
    """By name, or by the log key itself."""
    own = Witness("own", operator="Example Broker")
    story = bracketed(witnesses=[own, Witness("w1"), Witness("w2")])
    verdict = story.judged(note=story.note(own, story.witnesses[1]))
    assert failing_steps(verdict) == [19]
    assert 'witness "own" does not count: operator "Example Broker" runs it' in verdict.checks[18].notes.listed[0].text
    key = dataclasses.replace(own.key, public_key=story.broker.log_key.public_key)
    assert not dataclasses.replace(own.trust, key=key, operator="Somebody").counts_for(story.broker.trust())


def certified_story(not_after: datetime.datetime) -> tuple[ThirdStory, list[CertificateLine]]:
    """The first tracker's key is in a certificate that ends then."""
    story = bracketed()
    return story, [certificate_line(story.first, Maker().certify(story.first, not_after=not_after))]


def maker_policy(story: ThirdStory, **changes: object) -> Policy:
    devices = (Maker().device(story.first), story.second.trust)
    return story.trust(devices=devices, makers=(Maker().trust(),), **changes)


def with_certificates(data: bytes, certificates: list[CertificateLine]) -> bytes:
    """The file with these lines below its header."""
    header, *lines = data.splitlines(keepends=True)
    lines[-1] = lines[-1].replace(b'"certificates":0', b'"certificates":%d' % len(certificates))
    return b"".join([header, *map(encode_line, certificates), *lines])


@pytest.mark.parametrize(("seconds", "steps"), [(3600, []), (7, [9])])
def test_a_certificate_is_judged_at_the_upper_bound(seconds: int, steps: list[int]) -> None:
    """One that was valid at the mark's time, and had expired when a TSA saw the mark, does not count."""
    end = datetime.datetime.fromtimestamp(START_NS // SECOND + seconds, datetime.UTC)
    story, certificates = certified_story(end)
    data = with_certificates(story.file(), certificates)
    verdict = outcome(data, maker_policy(story))
    assert isinstance(verdict, Verdict)
    assert failing_steps(verdict) == steps
    assert validity(Maker().certify(story.first, not_after=end)[0]).to_ns > START_NS + 6 * SECOND
    if not steps:
        assert verdict.checks[8].liars == (
            ("device crate-1",),
            ("device crate-2",),
            ("maker Example Trackers",),
            TSAS,
        )
        assert not any("broker's own times" in limit for limit in verdict.limits)


def test_a_certificate_of_a_pending_mark_is_judged_at_the_marks_time() -> None:
    end = datetime.datetime.fromtimestamp(START_NS // SECOND + 3600, datetime.UTC)
    story, certificates = certified_story(end)
    story.signed(story.first)
    data = with_certificates(story.file(), certificates)
    verdict = outcome(data, maker_policy(story, missing=MissingTrust(allow_unanchored=True)))
    assert isinstance(verdict, Verdict)
    assert verdict.verified
    assert (OPERATOR,) in verdict.checks[8].liars and TSAS in verdict.checks[8].liars
    assert any("broker's own times" in limit for limit in verdict.limits)


def test_an_expired_tsa_certificate_counts_at_its_time_and_is_said() -> None:
    soon = datetime.datetime.fromtimestamp(START_NS // SECOND + 600, datetime.UTC)
    story = bracketed(tsas=[Tsa("A", form={"not_after": soon}), Tsa("B")])
    verdict = story.judged()
    assert verdict.verified
    assert any('TSA "A": a certificate has expired since' in limit for limit in verdict.limits)
    early = appraise(split_lines([story.file()]), story.trust(), START_NS + 60 * SECOND)
    assert not any("expired" in limit for limit in early.limits)


def test_the_error_of_a_mark_without_a_bound_is_what_the_policy_takes() -> None:
    broker = Broker()
    broker.clock = Clock("unsynchronised")
    story = bracketed(broker=broker, skew_ns=-10 * SECOND)
    lax, laxer = (ClockTrust(error_ns, allow_unsynchronised=True) for error_ns in (SECOND, 60 * SECOND))
    assert failing_steps(story.judged(story.trust(clock=lax))) == [18]
    assert story.judged(story.trust(clock=laxer)).verified


@pytest.mark.parametrize(("ts", "step"), [(START_NS // SECOND + 3600, 18), (START_NS // SECOND - 3600, 20)])
def test_a_device_clock_outside_its_bracket_is_contradicted_and_fails_nothing(ts: int, step: int) -> None:
    story = bracketed()
    payload = story.first.datagram(ts=ts, beacon=story.log.beacon())
    story.broker.publish(story.first, payload=payload)
    story.anchor()
    verdict = story.judged()
    assert verdict.verified
    assert verdict.summary.bounds.clock == "contradicted"
    assert "the device's clock is contradicted" in verdict.checks[step - 1].notes.listed[0].text


def test_without_a_policy_what_needs_no_trust_is_checked() -> None:
    verdict = appraise(split_lines([bracketed().file()]), None, NOW_NS)
    assert not verdict.verified
    assert not [check for check in verdict.checks if check.result is Result.FAILED]
    assert {result(verdict, step) for step in (17, 18, 19, 20)} == {Result.NOT_CHECKED}


def test_a_checkpoint_line_stands_only_below_its_stop() -> None:
    story = bracketed()
    lines = story.file().splitlines(keepends=True)
    at = next(at for at, line in enumerate(lines) if b'"checkpoint"}' in line)
    for changed in ([*lines[:at], *lines[at + 1 : -1], lines[at], lines[-1]], [*lines[: at + 1], *lines[at:]]):
        assert isinstance(outcome(b"".join(changed), story.trust()), DecodeError)


def test_a_log_without_third_parties_verifies_for_who_permits_it() -> None:
    story = logged()
    assert story.verdict().verified
    strict = dataclasses.replace(story.policy, missing=BARE)
    assert failing_steps(story.verdict(policy=strict)) == [18, 19, 20]


def test_only_the_newest_beacons_and_stops_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    story = bracketed()
    old = story.log.beacon()
    for _ in range(3):
        story.signed(story.second)
    story.signed(story.first, beacon=old)
    story.anchor()
    assert story.judged().verified
    monkeypatch.setattr(third, "MAX_BEACONS", 2)
    assert failing_steps(story.judged()) == [20]


def test_what_waits_does_not_grow_with_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups are gone with each anchor; with none they are joined, and then a later token bounds them all."""
    waited: list[int] = []
    rest = Waiting.cover

    def cover(self: Waiting, anchor: Anchor, quorum: int) -> list[tuple[Group, Bound]]:
        waited.append(len(self.rest()))
        return rest(self, anchor, quorum)

    monkeypatch.setattr(Waiting, "cover", cover)
    story = bracketed()
    for _ in range(6):
        for _ in range(3):
            story.signed(story.first)
        story.anchor()
    assert story.judged().verified
    assert max(waited) == 3
    monkeypatch.setattr(bracket, "MAX_GROUPS", 2)
    for _ in range(5):
        story.signed(story.second)
    story.anchor()
    waited.clear()
    assert story.judged().verified
    assert max(waited) <= 2
