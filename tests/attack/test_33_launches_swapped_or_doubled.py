"""Attacks 8, 33, 34: launch logs of others, re-labelled, doubled, mixed up. One launch, then exactly one epoch.

That an epoch key is the plugin's own shows nowhere below the level "booted": the launcher measures what it is told.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from sigillo.core import attested as core
from sigillo.core.attestation_trust import AttestationTrust, AttesterTrust
from sigillo.core.event_log import EventType, LoggedEvent, encode_event_log
from sigillo.core.evidence_line import LaunchLine, SharedLine, shared_order
from sigillo.core.launch import LaunchEvent, encode_launch_event
from sigillo.core.quote import LAUNCH_PCR
from sigillo.core.statement import Attester, AttesterKind
from sigillo.core.verdict import Verdict

from ..adversary.attested import COMMAND, AttestedStory, attested, closure_of, epoch_event, refused
from ..adversary.broker import Broker
from ..vector.key import filler


def with_logs(story: AttestedStory, *logs: list[LoggedEvent]) -> list[SharedLine]:
    """The story's shared parts with these launch logs."""
    rest = [line for line in story.shared if not isinstance(line, LaunchLine)]
    return [*rest, *sorted((LaunchLine(encode_event_log(events)) for events in logs), key=shared_order)]


def judged(story: AttestedStory, *logs: list[LoggedEvent]) -> Verdict:
    return story.judged(shared=with_logs(story, *logs))


def marked(story: AttestedStory) -> AttestedStory:
    """With marks, and a quote behind them."""
    story.publish()
    story.quote()
    return story


def test_the_launch_log_of_another_machine() -> None:
    """It has launched the same, before something else."""
    story, other = attested(), AttestedStory()
    other.measure(LaunchEvent(9, filler("closure"), COMMAND))
    refused(judged(story, other.events + story.events), 22, "does not lead to the quoted value of PCR 13")


def test_the_log_that_the_machine_has_had_since() -> None:
    """Longer than the epochs of the file: the later launches are not asked about."""
    story = attested()
    story.measure(LaunchEvent(3, filler("closure"), COMMAND))
    story.measure(epoch_event(filler("third epoch")))
    verdict = story.judged()
    assert verdict.verified, verdict.reason


def test_a_log_that_is_shorter_than_the_epochs() -> None:
    """Nothing says what the second epoch's launch was: declared, the whole file."""
    story = attested()
    verdict = judged(story, story.events[:2])
    assert verdict.level == "declared"
    assert verdict.checks[12].failures.count


@pytest.mark.parametrize(
    "foreign",
    [
        LoggedEvent(LAUNCH_PCR, EventType.EVENT_TAG, filler("digest"), b"label"),
        LoggedEvent(LAUNCH_PCR, 0x80000003, filler("digest"), b""),
        LoggedEvent(LAUNCH_PCR, EventType.EVENT_TAG, filler("digest"), bytes.fromhex("0300544700000000")),
    ],
    ids=["label", "driver", "another tag"],
)
@pytest.mark.parametrize("at", [0, 2])
def test_an_event_of_somebody_else(foreign: LoggedEvent, at: int) -> None:
    story = AttestedStory()
    for number in range(2):
        if at == 2 * number:
            story.events.append(foreign)
            story.tpm.extend(LAUNCH_PCR, [foreign.digest])
        story.launch()
        story.publish()
        story.broker.stop()
        story.quote()
    refused(story.judged(), 22, "somebody else extended")


def test_an_event_whose_data_was_changed() -> None:
    """Attack 8: the digest is the TPM's, the text another's."""
    story = attested()
    lie = encode_launch_event(LaunchEvent(2, closure_of().object_hash, (COMMAND[0], "-v")))
    events = list(story.events)
    events[2] = replace(events[2], data=lie.data)
    refused(judged(story, events), 22, "of which its digest is not the hash")


def test_an_epoch_event_twice() -> None:
    story = AttestedStory()
    story.launch()
    assert story.broker.epoch
    story.measure(epoch_event(story.broker.epoch.epoch_id))
    story.quote()
    refused(marked(story).judged(), 22, "without a launch of its own")


def test_a_rogue_epoch_under_an_honest_launch() -> None:
    """Attack 34: the second key has no launch of its own, whether its event stands in the log or not."""
    story = AttestedStory()
    story.launch()
    story.publish()
    story.quote()
    story.broker.stop()
    epoch = story.broker.start(
        configuration_hash=story.policy.operators[0].reference_values["configuration"][0],
        attester=Attester(AttesterKind.TPM, story.tpm.key.name),
    )
    story.measure(epoch_event(epoch.epoch_id))
    story.quote()
    story.publish()
    story.quote()
    refused(story.judged(), 22, "without a launch of its own")
    verdict = judged(story, story.events[:-1])
    assert verdict.level == "declared"
    assert verdict.checks[12].failures.count


def test_an_epoch_launched_twice() -> None:
    story = AttestedStory()
    story.launch()
    assert story.broker.epoch
    story.measure(LaunchEvent(1, closure_of().object_hash, COMMAND))
    story.measure(epoch_event(story.broker.epoch.epoch_id))
    refused(marked(story).judged(), 22, "was launched twice")


def test_two_logs_that_both_have_the_epoch() -> None:
    """Whichever of the two is true, the other is a lie."""
    story = attested()
    other = AttestedStory()
    other.measure(LaunchEvent(9, filler("closure"), COMMAND))
    for logs in ((story.events, other.events + story.events), (story.events[:2], story.events)):
        refused(judged(story, *map(list, logs)), 22, "was launched twice")


def test_a_broken_log_beside_a_good_one_fails_all_the_same() -> None:
    story = attested()
    foreign = LoggedEvent(LAUNCH_PCR, EventType.EVENT_TAG, filler("digest"), b"label")
    refused(judged(story, story.events, [foreign]), 22, "somebody else extended")


def test_a_log_that_breaks_off_says_nothing_at_all() -> None:
    """Also nothing about the launches before the place where it breaks."""
    story = attested()
    foreign = LoggedEvent(LAUNCH_PCR, EventType.EVENT_TAG, filler("digest"), b"label")
    refused(judged(story, [*story.events, foreign]), 22, "somebody else extended")


def test_closures_swapped_between_two_epochs() -> None:
    """Each closure is in the file; each launch has the other's."""
    first, second = closure_of(), closure_of(library=filler("newer libc"))
    story = AttestedStory()
    told = {first.object_hash: second, second.object_hash: first}
    for closure in (first, second):
        story.launch(closure, {"closure_hash": told[closure.object_hash].object_hash})
        story.publish()
        story.broker.stop()
        story.quote()
    assert story.judged().verified  # both have the same three hashes, and are what was measured
    changed = closure_of(plugin=filler("another plugin"))
    story = AttestedStory()
    story.closures[changed.object_hash] = changed
    story.launch(event={"closure_hash": changed.object_hash})
    refused(marked(story).judged(), 22, "another plugin than the epoch statement names")


def test_more_launches_than_a_reader_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "MAX_LAUNCHES", 1)
    refused(attested().judged(), 22, "more than 1 launches")


def test_the_same_key_in_two_operators_names() -> None:
    """One TPM attests one operator's launches: a policy that pins it for another believes nothing of this one."""
    story = attested()
    other = AttesterTrust("Another Operator", (story.tpm.key.name,), software=True)
    operators = (*story.policy.operators, Broker(other.operator, "another.example/log", "another").trust())
    attestation = AttestationTrust(attesters=(other,), allow_software=True)
    policy = replace(story.policy, operators=operators, attestation=attestation)
    verdict = story.judged(policy)
    assert verdict.level == "declared"
    assert verdict.checks[12].failures.count
