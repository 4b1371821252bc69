"""`make bench`, two tiny rounds: it measures what its tables name, leaves nothing; its page is what it prints."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from bench import mark
from bench.load import PAYLOAD, Block
from bench.result import Result, measure
from bench.run import BROKERS, REPEATED, SIGNATURE
from sigillo.core.datagram import decode_datagram
from tests.house.checkout import CHECKOUT

RESULTS = sorted((CHECKOUT / "bench/results").glob("*.json"))


def left_behind() -> set[Path]:
    return set(Path(tempfile.gettempdir()).glob("sigillo-bench-*"))


def test_two_tiny_rounds(tmp_path: Path) -> None:
    before = left_behind()
    options = ["--rounds", "2", "--messages", "40", "--folder", str(tmp_path)]
    done = subprocess.run([sys.executable, CHECKOUT / "bench/run.py", *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # no broker warned of a refusal
    (path,) = tmp_path.iterdir()
    result = Result.read(path)
    assert path.name == result.file_name()
    assert done.stdout == f"{result.markdown()}\n{path}\n"
    names = {group.name: {row.name for row in group.rows} for group in result.groups}
    assert names["QoS 0"] == names["QoS 1"] == {*BROKERS, REPEATED, SIGNATURE}
    assert names["In the plugin, for one message"] == set(mark.PARTS)
    assert all(row.us > 0 and row.low <= row.ratio <= row.high for group in result.groups for row in group.rows)
    assert left_behind() <= before


def test_payloads_are_distinct_signed_datagrams() -> None:
    block = Block.make(3, 1)
    seen = set()
    for number in (1, 2):
        block.freshen(number)
        for stream in block.streams:
            packets = [stream[at : at + len(stream) // 3] for at in range(0, len(stream), len(stream) // 3)]
            seen |= {bytes(packet[-PAYLOAD:]) for packet in packets}
    assert len(seen) == 2 * block.messages
    assert all(len(payload) == PAYLOAD and decode_datagram(payload) for payload in seen)


def test_ratio_is_of_the_same_round() -> None:
    """A machine that is twice as slow in every second round changes no ratio."""
    speed = iter([9, 1, 1, 1, 2, 2, 1, 1, 2, 2])  # a round that does not count, then four
    works = {"bare": lambda: 1e-6 * next(speed), "ours": lambda: 3e-6 * next(speed)}
    (group,) = measure({"together": works}, 4, lambda number: None)
    bare, ours = group.rows
    assert (bare.ratio, ours.ratio, ours.low, ours.high) == (1, 3, 3, 3)
    assert (bare.us, ours.us) == (1.5, 4.5)


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.name)
def test_kept_result_says_nothing_of_the_host(path: Path) -> None:
    result = Result.read(path)
    assert path.name == result.file_name()
    assert set(result.machine) == {"processor", "cores", "kernel", "debian", "mosquitto", "libsodium", "python"}


def test_page_shows_the_newest_result() -> None:
    page = (CHECKOUT / "docs/benchmark.md").read_text(encoding="utf-8")
    assert Result.read(RESULTS[-1]).markdown() in page
