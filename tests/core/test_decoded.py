"""Objects inside the lines of an evidence file: read, or refused naming line and member."""

from __future__ import annotations

import dataclasses

import pytest

from sigillo.core.decoded import DecodedBootLog, DecodedMeasurements, decode_objects
from sigillo.core.errors import DecodeError
from sigillo.core.event_log import EventType, encode_event_log
from sigillo.core.evidence_codec import encode_line
from sigillo.core.evidence_line import BootLine, ClosureLine, Header, ImaLine, LaunchLine, Line
from sigillo.core.launch import encode_closure

from ..vector.accept_ima import Raw, listed, recorded
from ..vector.accept_tpm import BOOT
from ..vector.sample_tpm import CLOSURE, LAUNCHES

ABOVE = (Header(), ClosureLine(encode_closure(CLOSURE)), LaunchLine(encode_event_log(LAUNCHES)))


def objects(*lines: Line, above: tuple[Line, ...] = ABOVE) -> list[object]:
    """What is decoded of lines below a closure and its launch log; the rest of the file is missing."""
    found: list[object] = []
    try:
        for decoded in decode_objects(encode_line(line)[:-1] for line in (*above, *lines)):
            found.append(decoded)
    except DecodeError as error:
        if "the trailer is missing" not in error.reason:
            raise
    return found[len(above) :]


def test_a_real_boot_and_its_measurement_list() -> None:
    real = recorded()
    boot, ima = objects(BootLine(real["boot_log"]), ImaLine(real["list_2"]))
    assert isinstance(boot, DecodedBootLog)
    assert (boot.number, len(boot.log.events)) == (4, 35)
    assert isinstance(ima, DecodedMeasurements)
    assert (ima.number, len(ima.measurements)) == (5, 6)


def test_a_log_that_contradicts_itself_is_refused_where_it_stands() -> None:
    told = dataclasses.replace(BOOT[1], data=b"another")
    with pytest.raises(DecodeError, match=r"^line 4, log: event 1 has data of which"):
        objects(BootLine(encode_event_log([told])))
    launched = dataclasses.replace(LAUNCHES[0], event_type=EventType.ACTION, data=b"")
    with pytest.raises(DecodeError, match=r"^line 3, log: event 1 has data of which"):
        objects(LaunchLine(encode_event_log([launched])), above=ABOVE[:2])
    good = BootLine(recorded()["boot_log"])
    with pytest.raises(DecodeError, match=r"^line 5, list: measurement list: has entry 2"):
        objects(good, ImaLine(listed(Raw(digest=b"sha1:\0" + bytes(20)))))
    with pytest.raises(DecodeError, match=r"^line 5, list: measurement 2 is not what"):
        objects(good, ImaLine(listed(Raw(template_hash=b"\1" * 20))))
