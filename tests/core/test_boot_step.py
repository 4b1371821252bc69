"""spec/verification.md, step 24: what a machine booted and loaded, in whole verdicts; level "booted"."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import pytest

from sigillo.core.attestations import LAUNCHER_LIES, NO_BOOT
from sigillo.core.evidence_line import BootLine, ImaLine, SharedLine
from sigillo.core.launch import Role
from sigillo.core.policy import decode_policy, encode_policy
from sigillo.core.verdict import LEVEL_SENTENCE, Result, Verdict

from ..adversary.attested import CONFIGURATION, attested, closure_of
from ..adversary.booted import ROGUE, SYSTEMD, BootedStory, booted, broker_files
from ..adversary.machine import Machine, boot, loaded
from ..vector.key import filler


def step(verdict: Verdict, number: int = 24) -> Result:
    return verdict.checks[number - 1].result


def without(parts: Sequence[SharedLine], *kinds: type[SharedLine]) -> list[SharedLine]:
    return [part for part in parts if not isinstance(part, kinds)]


def test_an_honest_machine_reaches_booted() -> None:
    story = booted()
    verdict = story.judged(story.asks("booted"))
    assert verdict.verified, verdict.reason
    assert verdict.level == "booted"
    assert LEVEL_SENTENCE["booted"] in verdict.checks[12].detail
    assert step(verdict) is Result.PASSED
    assert LAUNCHER_LIES not in verdict.limits
    assert any(limit.startswith("not shown: memory") for limit in verdict.limits)
    assert 'booted as platform "appliance 3"' in verdict.checks[23].notes.listed[0].text


def test_the_policy_comes_back_with_its_platforms() -> None:
    policy = booted().asks("booted")
    assert decode_policy(encode_policy(policy).encode()) == policy


def test_without_a_platform_the_level_is_launched_and_the_limit_is_said() -> None:
    story = booted()
    verdict = story.judged(story.asks("launched", knows_platform=False))
    assert verdict.verified, verdict.reason
    assert verdict.level == "launched"
    assert (step(verdict), verdict.checks[23].detail) == (Result.MISSING, NO_BOOT)
    assert LAUNCHER_LIES in verdict.limits
    asked = story.judged(story.asks("booted", knows_platform=False))
    assert 'reaches level "launched", the policy asks for "booted"' in asked.reason


@pytest.mark.parametrize("kinds", [(BootLine, ImaLine), (ImaLine,)])
def test_without_boot_log_or_list_the_level_is_launched(kinds: tuple[type[SharedLine], ...]) -> None:
    story = booted()
    verdict = story.judged(story.asks("booted"), without(story.shared, *kinds))
    assert verdict.level == "launched"
    assert step(verdict) is Result.MISSING
    assert step(verdict, 13) is Result.FAILED


def test_a_file_loaded_between_two_quotes_fails() -> None:
    story = booted()
    story.load([ROGUE])
    story.publish()
    story.quote()
    verdict = story.judged(story.asks("booted"))
    assert verdict.level == "launched"
    assert "/opt/mosquitto" in verdict.checks[23].failures.listed[0].text


def test_a_list_that_ends_before_the_quote_fails() -> None:
    story = booted()
    early = Machine(files=[SYSTEMD]).ima_list
    parts = [*without(story.shared, ImaLine), ImaLine(early)]
    verdict = story.judged(story.asks("booted"), parts)
    assert "no measurement list" in verdict.checks[23].failures.listed[0].text


def test_a_list_that_goes_on_after_the_quote_is_no_fault() -> None:
    story = booted()
    later = Machine(files=[*story.machine.files, ROGUE]).ima_list
    parts = [*without(story.shared, ImaLine), ImaLine(later)]
    verdict = story.judged(story.asks("booted"), parts)
    assert verdict.verified, verdict.reason


def test_the_boot_log_of_another_boot_fails() -> None:
    story = booted()
    other = Machine(boot("console=ttyS0 ima_policy=tcb quiet")).boot_log_bytes
    parts = [*without(story.shared, BootLine, ImaLine), BootLine(other), ImaLine(story.machine.ima_list)]
    verdict = story.judged(story.asks("booted"), parts)
    assert "no boot log" in verdict.checks[23].failures.listed[0].text


def test_another_boot_than_the_platform_fails() -> None:
    story = booted()
    other = replace(story.platform, boot={**story.platform.boot, 4: (filler("another kernel"),)})
    verdict = story.judged(replace(story.asks("booted"), platforms=(other,)))
    assert "PCR 4" in verdict.checks[23].failures.listed[0].text


def test_files_of_the_closure_are_not_known_by_the_launchers_word() -> None:
    story = booted()
    bare = replace(story.platform, files=frozenset([filler("systemd")]))
    verdict = story.judged(replace(story.asks("booted"), platforms=(bare,)))
    assert "by the launcher's word alone" in verdict.checks[23].failures.listed[0].text


def test_a_machine_that_measures_nothing_is_launched() -> None:
    assert attested().judged().level == "launched"


def test_a_broker_listed_as_configuration_is_not_known_by_its_text() -> None:
    """Its text is in the file, and has the hash that was measured; that makes nobody know it."""
    story = BootedStory()
    text = "ELF in seven bits"
    rogue = {**CONFIGURATION, "conf/rogue": text}
    story.told["conf/rogue"] = text
    story.load([*broker_files(Role.EXECUTABLE), loaded("/opt/mosquitto", hashlib.sha256(text.encode()).digest())])
    story.launch(closure_of(rogue))
    story.publish()
    story.quote()
    policy = story.asks("booted")
    bare = replace(policy.operators[0], reference_values={**policy.operators[0].reference_values})
    verdict = story.judged(replace(policy, operators=(bare,)))
    assert verdict.level != "booted"
    assert "/opt/mosquitto" in verdict.checks[23].failures.listed[0].text
