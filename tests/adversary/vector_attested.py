"""Evidence files of measured launches, for vectors/evidence: accepted, and not verified at the step in their name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sigillo.core.event_log import EventType, LoggedEvent
from sigillo.core.launch import LaunchEvent, encode_launch_event
from sigillo.core.policy import Policy
from sigillo.core.quote import LAUNCH_PCR

from ..vector.key import P256Key, filler
from .attested import COMMAND, TRUTH, AttestedStory, attested
from .broker import alone
from .tpm import LyingTpm


def attested_up_to() -> tuple[bytes, Policy]:
    """Marks after the newest quote, which the reader permits."""
    story = attested()
    story.launch()
    story.publish()
    policy = replace(story.policy, missing=alone(allow_unlogged=False, allow_unattested=True))
    return story.file(), policy


def not_attested() -> dict[str, bytes]:
    """Readable, and not verified under reject/attested.policy.toml: the number is that of the step."""
    made: dict[str, bytes] = {}
    for name, lies in {
        "21-reset-between-two-quotes": {"resets": 8},
        "21-clock-backward": {"clock": 9_000},
        "21-quote-for-other-data": {"extra": bytes(32)},
        "21-quote-without-the-launch": {"banks": ((0x000B, b"\xff\x5f\x00"),)},
    }.items():
        made[name] = half_attested(**lies).file()
    story = half_attested(tpm=LyingTpm(P256Key(filler("another TPM"))))
    made["21-quote-of-another-tpm"] = story.file()
    story = attested()
    story.tpm.resets -= 1
    story.launch()
    story.publish()
    story.quote()
    made["21-older-state-of-the-tpm"] = story.file()
    for name, event in {
        "22-another-command": {"command": (*COMMAND, "-p", "1883")},
        "22-environment": {"environment": ("LD_PRELOAD=/tmp/spy.so",)},
        "22-another-epoch-number": {"epoch_number": 7},
        "22-another-closure": {"closure_hash": filler("a closure")},
    }.items():
        made[name] = half_attested(event=event).file()
    story = half_attested()
    story.events.append(LoggedEvent(LAUNCH_PCR, EventType.EVENT_TAG, filler("digest"), b"label"))
    made["22-event-of-somebody-else"] = story.file()
    story = half_attested()
    story.events.insert(0, encode_launch_event(LaunchEvent(1, filler("a closure"), COMMAND)))
    made["22-log-of-another-machine"] = story.file()
    made["13-no-launch-log"] = half_attested().file(shared=())
    story = half_attested()
    story.publish()
    made["23-no-closing-quote"] = story.file()
    story = half_attested()
    opening = story.log.tokens[0]
    made["23-no-opening-quote"] = story.file(lines=[line for line in story.log.lines() if line is not opening])
    return made


def half_attested(event: Mapping[str, Any] = TRUTH, tpm: LyingTpm | None = None, **lies: Any) -> AttestedStory:
    """One epoch between two quotes; *event*: lies of the launch; *tpm*, *lies*: of the closing quote."""
    story = AttestedStory()
    story.launch(event=event)
    story.publish()
    story.quote(tpm=tpm, **lies)
    return story
