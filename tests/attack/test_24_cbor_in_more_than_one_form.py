"""Attack 24 (RFC 8949 section 5.6, RFC 9052 section 9): one object in two encodings, or two objects in one.

Every case is validly signed: only the form is wrong, and it is refused before any signature is believed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from sigillo.core.errors import DecodeError
from sigillo.core.evidence_line import EpochLine, MessageLine
from sigillo.core.mark import decode_mark

from ..adversary.broker import evidence_file
from ..adversary.forge import bytes_item, resigned, sign1
from ..adversary.story import Story, outcome


def story_with_one_message() -> tuple[Story, MessageLine]:
    story = Story()
    line = story.broker.publish(story.second)
    return story, line


def refused(story: Story, line: MessageLine, says: str) -> None:
    result = outcome(evidence_file([story.broker.lines[0], line]), story.policy)
    assert isinstance(result, DecodeError)
    assert str(result).startswith("line 3, mark: ")
    assert says in str(result), result


PAYLOAD_FORMS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "a key twice": (lambda p: b"\xae\x01\x01" + p[1:], ""),
    "a key missing": (lambda p: bytes([p[0] - 1]) + p[3:], "key 1 is missing"),
    "an unknown key": (lambda p: bytes([p[0] + 1]) + p[1:] + b"\x17\x01", "unknown key 23"),
    "keys out of order": (lambda p: p[:1] + p[3:5] + p[1:3] + p[5:], "deterministic"),
    "a number not in its shortest form": (lambda p: p[:1] + b"\x18\x01" + p[2:], "shortest"),
    "an indefinite map": (lambda p: b"\xbf" + p[1:] + b"\xff", "shortest"),
    "bytes after the end": (lambda p: p + b"\x00", "after the end"),
    "a float": (lambda p: p[:2] + b"\xf9\x3c\x00" + p[3:], "float"),
    "version 2": (lambda p: p[:2] + b"\x02" + p[3:], "version"),
    "cut off": (lambda p: p[:-1], ""),
    "another type": (lambda p: p[:2] + b"\x41\x01" + p[3:], "version"),
}


@pytest.mark.parametrize(("change", "says"), PAYLOAD_FORMS.values(), ids=PAYLOAD_FORMS)
def test_a_mark_payload_in_another_form(change: Callable[[bytes], bytes], says: str) -> None:
    story, line = story_with_one_message()
    refused(story, resigned(story.broker, line, change), says)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda mark: mark + b"\0", "after the end"),
        (lambda mark: mark[1:], "tag 18"),
        (lambda mark: b"\xd2" + mark, ""),
        (lambda mark: b"\xd8\x12" + mark[1:], "tag 18"),
        (lambda mark: mark[:1] + b"\x9f" + mark[2:] + b"\xff", "shortest"),
        (lambda mark: b"", ""),
        (lambda mark: b"\xd2\x84" + b"\x9b" + b"\xff" * 8, ""),
        (lambda mark: b"\xd2" + b"\x81" * 100_000 + b"\x00", "nested"),
    ],
    ids=["trailing", "no tag", "tag twice", "long tag", "indefinite", "nothing", "huge length", "deep"],
)
def test_a_mark_object_in_another_form(change: Callable[[bytes], bytes], says: str) -> None:
    story, line = story_with_one_message()
    refused(story, dataclasses.replace(line, mark=change(line.mark)), says)


def test_a_protected_header_in_another_form() -> None:
    """The same header with its keys in another order, signed like that."""
    story, line = story_with_one_message()
    assert story.broker.epoch
    mark = decode_mark(line.mark).sign1
    header = mark.protected_bytes
    assert header[:3] == b"\xa3\x01\x32"
    other = header[:1] + header[3:] + header[1:3]
    refused(story, dataclasses.replace(line, mark=sign1(other, mark.payload, story.broker.epoch.key)), "deterministic")


def test_a_second_salt_or_an_unknown_label_in_the_unprotected_header() -> None:
    story, line = story_with_one_message()
    mark = decode_mark(line.mark)
    assert mark.salt
    label = b"\x3a\x00\x01\x00\x00"
    for unprotected in (
        b"\xa2" + (label + bytes_item(mark.salt)) * 2,
        b"\xa2\x01\x00" + label + bytes_item(mark.salt),
        b"\xa1" + label + bytes_item(mark.salt[:15]),
        b"\xa1" + label + b"\xf6",
    ):
        sign1_bytes = mark.sign1
        forged = b"\xd2\x84" + bytes_item(sign1_bytes.protected_bytes) + unprotected
        forged += bytes_item(sign1_bytes.payload) + bytes_item(sign1_bytes.signature)
        refused(story, dataclasses.replace(line, mark=forged), "")


def test_a_statement_in_another_form_is_refused() -> None:
    story, line = story_with_one_message()
    epoch = story.broker.lines[0]
    assert isinstance(epoch, EpochLine)
    for statement in (epoch.statement + b"\0", epoch.statement[1:], epoch.statement[:-1], b""):
        result = outcome(evidence_file([EpochLine(statement), line]), story.policy)
        assert isinstance(result, DecodeError)
        assert str(result).startswith("line 2, statement: ")
