"""Operators that contradict themselves: two files of each, and what is to be found in them."""

from __future__ import annotations

import copy
import dataclasses
from typing import TypeVar

from sigillo.core.checkpoint import decode_checkpoint
from sigillo.core.contradiction import Source, Tiles
from sigillo.core.line import split_lines
from sigillo.core.policy import Policy

from .broker import SECOND
from .device import Device
from .log import Log, LoggedStory, logged
from .story import Story

Logged = TypeVar("Logged", bound=LoggedStory)
Pair = tuple[bytes, bytes | Source, Policy]
"""Two evidence files, or one and the public files of a log; and the policy."""


def _twins() -> tuple[LoggedStory, LoggedStory]:
    """A story and its twin, as after a snapshot of the whole machine."""
    story = LoggedStory()
    story.publish()
    twin = copy_of(story)
    return story, twin


def copy_of(story: Logged) -> Logged:
    """Goes on by itself."""
    memo = {id(device): device for device in story.devices}
    for broker_key in (story.broker.log_private, story.broker.epoch and story.broker.epoch.key):
        memo[id(broker_key)] = broker_key  # type: ignore[assignment]
    return copy.deepcopy(story, memo)


def pairs() -> dict[str, Pair]:
    """By kind of accusation: two files, each readable, and the policy of whoever has both."""
    made: dict[str, Pair] = {}
    story, twin = _twins()
    story.broker.publish(story.first)
    twin.broker.publish(twin.second)
    story.log.append()
    twin.log.append()
    made["marks"] = story.log.file(), twin.log.file(), story.policy

    story, twin = Story(), Story()
    twin.broker.start(start_ns=twin.broker.clock_ns + 1)
    story.broker.publish(story.first)
    twin.broker.publish(twin.first)
    made["statements"] = story.broker.file(), twin.broker.file(), story.policy

    story, twin = _twins()
    twin.broker.stop()
    story.broker.publish(story.first)
    story.log.append()
    twin.log.append()
    made["end"] = story.log.file(), twin.log.file(), story.policy

    story, twin = _twins()
    for one in (story, twin):
        one.log.append_heads()
    entry = twin.log.entries[-1]
    twin.log.entries[-1] = dataclasses.replace(entry, object_hash=b"\x07" * 32)
    del twin.log.heads[-1]
    made["checkpoints"] = story.log.file(), twin.log.file(), story.policy

    story = logged()
    twin = copy_of(story)
    twin.broker.start()
    checkpoint = dataclasses.replace(twin.broker.checkpoint, root=b"\x07" * 32)
    line = twin.broker.publish(twin.first, checkpoint=checkpoint)
    assert line
    story.broker.start()
    story.broker.publish(story.second)
    story.log.append()
    twin.log.append()
    made["mark-checkpoint"] = twin.log.file(), twin.log.file(), story.policy

    story = logged()
    story.broker.start(log_checkpoint=dataclasses.replace(story.broker.checkpoint, root=b"\x07" * 32))
    story.broker.publish(Device("crate-1", "p256", number=9))
    story.broker.clock_ns += SECOND
    story.log.append()
    made["statement-checkpoint"] = story.log.file(), story.log.file(), story.policy

    story, twin = _twins()
    twin.broker.die()
    twin.broker.start()
    story.broker.publish(story.first)
    made["mark-next"] = story.broker.file(), twin.broker.file(), story.policy

    story, twin = logged(), logged()
    entry = twin.log.entries[3]
    twin.log.entries[3] = dataclasses.replace(entry, object_hash=b"\x07" * 32)
    made["mark-entry"] = story.log.file(), public(twin.log), story.policy

    story, twin = logged(), logged()
    del twin.log.entries[3]
    made["mark-gap"] = story.log.file(), public(twin.log), story.policy

    story, twin = _twins()
    story.broker.publish(story.first)
    twin.broker.publish(twin.second)
    for one in (story, twin):
        one.log.append()
        one.log.append_heads()
    made["mark-heads"] = story.log.file(), twin.log.file(), story.policy
    return made


def source(data: bytes | Source) -> Source:
    """What `find` takes of one side of a pair."""
    return data if isinstance(data, Source) else Source(lambda: split_lines([data]))


def public(log: Log) -> Source:
    """The public files of a log as it is now."""
    note = decode_checkpoint(log.note().encode())
    return Source(checkpoint=note, tiles=Tiles(log.entries.__getitem__, log.read))
