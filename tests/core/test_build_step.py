"""Step 12 with build manifests (spec/verification.md, "Build"): who built what ran, and who made the same again."""

from __future__ import annotations

import dataclasses

import pytest

from sigillo.core.appraise import NO_REBUILDER, appraise
from sigillo.core.build_trust import BuilderTrust, BuildTrust
from sigillo.core.errors import DecodeError, PolicyError
from sigillo.core.evidence import MAX_MANIFESTS, MAX_REBUILDS
from sigillo.core.evidence_line import ManifestLine, RebuildLine
from sigillo.core.line import split_lines
from sigillo.core.manifest import Manifest
from sigillo.core.verdict import Result, Verdict

from ..adversary.broker import HASHES, NOW_NS, alone, evidence_file
from ..adversary.builder import MOSQUITTO, dsse_key, manifest_of, sha256, signed_manifest, signed_statement
from ..adversary.built import BUILDER, REBUILDERS, BuiltStory, built, rebuilt_by
from ..adversary.story import failing_steps, honest, outcome, verdict_on


def fails(story: BuiltStory, *, says: str) -> None:
    verdict = verdict_on(story.lines, story.policy)
    assert failing_steps(verdict) == [12]
    assert says in verdict.reason, verdict.reason


def test_who_built_it_and_who_made_it_again_must_have_lied_together() -> None:
    verdict = verdict_on(built().lines, built().policy)
    assert verdict.verified
    assert NO_REBUILDER not in verdict.missing
    check = verdict.checks[11]
    together = ("builder Example Builder", "rebuilder Rebuilder A", "rebuilder Rebuilder B")
    assert check.liars == (("operator Example Broker",), together)
    assert "made again by Rebuilder A, Rebuilder B" in check.notes.listed[0].text


def test_without_a_builder_the_lists_of_hashes_still_decide() -> None:
    story = honest()
    verdict = verdict_on(story.broker.lines, story.policy)
    assert verdict.verified
    assert NO_REBUILDER in verdict.missing
    assert verdict.checks[11].liars == (("operator Example Broker",),)


def test_a_manifest_gives_nothing_to_a_policy_without_builder() -> None:
    story = built()
    policy = dataclasses.replace(story.policy, build=BuildTrust())
    verdict = verdict_on(story.lines, policy)
    assert failing_steps(verdict) == [12]
    assert "not compared" in verdict.reason


def test_fewer_rebuilders_than_the_quorum_fail_unless_permitted() -> None:
    story = built()
    story.statements = rebuilt_by(story.manifest, "A")
    fails(story, says="asks for 2 rebuilder(s), 1 made")
    story.missing = alone(allow_not_rebuilt=True)
    verdict = verdict_on(story.lines, story.policy)
    assert verdict.verified
    assert "missing.allow_not_rebuilt" in [used.permission for used in verdict.relaxations]
    assert NO_REBUILDER in verdict.missing
    assert verdict.checks[11].liars[1] == ("builder Example Builder", "rebuilder Rebuilder A")


def test_without_any_rebuilder_nothing_is_rebuilt() -> None:
    story = built()
    story.statements = []
    policy = dataclasses.replace(story.policy, build=BuildTrust((BUILDER,)))
    verdict = verdict_on(story.lines, policy)
    assert failing_steps(verdict) == [12]
    assert "has no rebuilder" in verdict.reason


@pytest.mark.parametrize("part", ["executable", "plugin"])
def test_another_program_than_the_manifests_fails(part: str) -> None:
    story = BuiltStory()
    story.start(**{f"{part}_hash": b"\x77" * 32})
    verdict = verdict_on(story.lines, story.policy)
    assert failing_steps(verdict) == [12]
    assert f"the {part} {'77' * 32} is not that of the build manifest" in verdict.reason


def test_executable_and_plugin_in_each_others_place_fail() -> None:
    story = BuiltStory(built=manifest_of(HASHES["plugin"], HASHES["executable"]))
    story.start()
    fails(story, says="is not that of the build manifest")


def test_a_list_of_hashes_decides_and_still_has_to_be_rebuilt() -> None:
    """The manifest is of another build: the reader's own hashes match, and nobody made those again."""
    story = BuiltStory(built=manifest_of(sha256("another"), HASHES["plugin"]))
    story.start()
    policy = dataclasses.replace(story.policy, operators=(story.broker.trust(),))
    verdict = verdict_on(story.lines, policy)
    assert failing_steps(verdict) == [12]
    assert "no manifest by a builder of the policy has executable and plugin" in verdict.reason


def test_a_statement_that_names_no_manifest_is_not_compared() -> None:
    story = BuiltStory()
    story.start(manifest_hash=None)
    fails(story, says="names no build manifest")


def test_a_manifest_that_the_file_lacks_is_not_compared() -> None:
    story = BuiltStory()
    story.start(manifest_hash=b"\x07" * 32)
    fails(story, says="the file lacks the build manifest 0707")


def test_a_manifest_without_plugin_does_not_do() -> None:
    story = BuiltStory(
        built=Manifest("Example Builder", manifest_of(HASHES["executable"], HASHES["plugin"]).builds[:1])
    )
    story.start()
    fails(story, says="the plugin")


def test_a_builder_that_the_policy_does_not_have_fails() -> None:
    story = BuiltStory()
    story.manifest = signed_manifest(story.built, "another")
    story.statements = rebuilt_by(story.manifest, "A", "B")
    story.start()
    fails(story, says="does not trust the builder")


def test_a_builder_under_another_name_fails() -> None:
    story = BuiltStory(built=dataclasses.replace(manifest_of(HASHES["executable"], HASHES["plugin"]), builder="Debian"))
    story.start()
    fails(story, says='its key that of "Example Builder"')


def test_a_rebuilder_under_another_name_fails() -> None:
    story = built()
    story.statements = [signed_statement(story.manifest, "Rebuilder B", "rebuilder A")]
    fails(story, says='its key that of "Rebuilder A"')


def test_rebuilders_that_the_policy_does_not_have_count_for_nothing() -> None:
    story = built()
    story.statements = [*rebuilt_by(story.manifest, "A"), signed_statement(story.manifest, "Someone", "someone")]
    fails(story, says="1 made")
    story.statements = [*rebuilt_by(story.manifest, "A", "B"), signed_statement(story.manifest, "Someone", "someone")]
    assert verdict_on(story.lines, story.policy).verified


@pytest.mark.parametrize("other", [{"executable": sha256("x")}, {"plugin": sha256("x")}, {"plugin": None}])
def test_a_rebuilder_that_made_something_else_does_not_count(other: dict[str, bytes | None]) -> None:
    story = built()
    story.statements = [*rebuilt_by(story.manifest, "A"), *rebuilt_by(story.manifest, "B", **other)]
    fails(story, says="1 made")


def test_what_is_no_program_need_not_be_equal() -> None:
    story = built()
    story.statements = rebuilt_by(story.manifest, "A", "B", package=sha256("x"))
    assert verdict_on(story.lines, story.policy).verified


def test_two_statements_of_one_rebuilder_count_once() -> None:
    story = built()
    first = rebuilt_by(story.manifest, "A")
    again = rebuilt_by(story.manifest, "A", package=sha256("x"))
    story.statements = [*first, *again]
    fails(story, says="1 made")


@pytest.mark.parametrize(
    "own", [BuilderTrust("Other name", BUILDER.key), BuilderTrust(BUILDER.name, dsse_key("rebuilder A"))]
)
def test_nobody_rebuilds_their_own_build(own: BuilderTrust) -> None:
    """By key or by name: the builder's own second opinion is none."""
    story = built()
    seed = "builder" if own.key == BUILDER.key else "rebuilder A"
    story.statements = [signed_statement(story.manifest, own.name, seed), *rebuilt_by(story.manifest, "B")]
    build = BuildTrust((BUILDER,), (own, REBUILDERS[1]), 2)
    verdict = verdict_on(story.lines, dataclasses.replace(story.policy, build=build))
    assert failing_steps(verdict) == [12]
    assert "1 made" in verdict.reason


def test_a_statement_about_a_manifest_that_is_not_there_fails() -> None:
    story = built()
    story.statements += rebuilt_by(signed_manifest(), "C")
    fails(story, says="not in the file")


def test_signatures_are_checked_without_a_policy() -> None:
    story = built()
    verdict = appraise(split_lines([story.file()]), None, NOW_NS)
    assert verdict.checks[11].result is Result.NOT_CHECKED
    changed = story.manifest.decode().replace(dsse_key("builder").raw.hex(), dsse_key("another").raw.hex())
    verdict = appraise(split_lines([evidence_file([ManifestLine(changed), *story.broker.lines])]), None, NOW_NS)
    assert verdict.checks[11].result is Result.FAILED


def test_each_epoch_is_built_by_its_own_manifest() -> None:
    story = built()
    story.broker.stop()
    story.broker.start(manifest_hash=None)
    story.publish()
    verdict = verdict_on(story.lines, dataclasses.replace(story.policy, missing=alone(allow_not_rebuilt=True)))
    assert failing_steps(verdict) == [12]
    story.missing = alone(allow_not_rebuilt=True)
    policy = dataclasses.replace(story.policy, operators=(story.broker.trust(),))
    verdict = verdict_on(story.lines, policy)
    assert verdict.verified
    assert NO_REBUILDER in verdict.missing


def test_any_byte_changed_is_refused_or_says_the_same() -> None:
    story = built()
    data, policy = story.file(), story.policy
    end = data.index(b'{"statement":"0oRY')
    honest_verdict = outcome(data, policy)
    assert isinstance(honest_verdict, Verdict)
    assert honest_verdict.verified
    for at in range(0, end, 5):
        changed = data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1 :]
        try:
            verdict = appraise(split_lines([changed]), policy, NOW_NS)
        except DecodeError:
            continue
        assert not verdict.verified or verdict.to_json() == honest_verdict.to_json(), at


def test_order_and_number_of_the_lines() -> None:
    story = built()
    manifest, first, second = story.shared
    assert isinstance(manifest, ManifestLine)
    other = ManifestLine(signed_manifest(Manifest("b", (MOSQUITTO,))).decode())
    pair = sorted([manifest, other], key=lambda line: line.manifest)
    assert isinstance(outcome(evidence_file([*pair, first, second, *story.broker.lines]), story.policy), Verdict)
    for wrong in (
        [*pair[::-1], first, second, *story.broker.lines],
        [manifest, manifest, *story.broker.lines],
        [manifest, second, first, *story.broker.lines],
        [manifest, first, first, *story.broker.lines],
        [first, manifest, *story.broker.lines],
        [first, *story.broker.lines],
        [*story.broker.lines, manifest],
        [*story.broker.lines[:1], manifest, *story.broker.lines[1:]],
    ):
        assert isinstance(outcome(evidence_file(wrong), story.policy), DecodeError)


def test_too_many_are_refused() -> None:
    story = built()
    manifests = sorted(signed_manifest(Manifest(f"b{at}", (MOSQUITTO,))).decode() for at in range(MAX_MANIFESTS + 1))
    lines = [*map(ManifestLine, manifests), *story.broker.lines]
    assert isinstance(outcome(evidence_file(lines), story.policy), DecodeError)
    statements = sorted(signed_statement(story.manifest, f"R{at}", f"r{at}").decode() for at in range(MAX_REBUILDS + 1))
    lines = [story.shared[0], *map(RebuildLine, statements), *story.broker.lines]
    assert isinstance(outcome(evidence_file(lines), story.policy), DecodeError)


@pytest.mark.parametrize(
    ("parts", "names"),
    [
        (((BUILDER, BUILDER), (), None), "builder[2].name"),
        (((BUILDER, BuilderTrust("x", BUILDER.key)), (), None), "builder[2].key"),
        (((BUILDER,), (REBUILDERS[0], BuilderTrust("x", REBUILDERS[0].key)), 1), "rebuilder[2].key"),
        (((BUILDER,), REBUILDERS, None), "build"),
        (((BUILDER,), REBUILDERS, 4), "build.quorum"),
        (((BUILDER,), REBUILDERS, 0), "build.quorum"),
        (((BUILDER,), (), 1), "build"),
        (((), REBUILDERS, 1), "rebuilder"),
    ],
)
def test_trust_that_makes_no_sense_is_refused(parts: tuple, names: str) -> None:
    with pytest.raises(PolicyError) as caught:
        BuildTrust(*parts)
    assert caught.value.field == names
