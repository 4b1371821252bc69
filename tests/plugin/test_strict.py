"""Durability `strict` on the real broker: each mark is on disk before its acknowledgement (spec/log-storage.md, P2)."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sigillo.core.statement import Durability

from .launcher import MOSQUITTO, broker
from .peer import Peer

MESSAGES = 300
STRACE = ("strace", "-f", "-e", "trace=fdatasync,fsync,write,writev,sendto")
PUBACK = '"@\\'
"""As strace shows the first byte of one."""


def calls(trace: Path) -> list[str]:
    """`data` and `names` for flushes that went well, `ack` for acknowledgements, in order."""
    found = []
    for line in trace.read_text().splitlines():
        if "fdatasync(" in line:
            assert line.endswith("= 0"), line
            found.append("data")
        elif "fsync(" in line:
            assert line.endswith("= 0"), line
            found.append("names")
        elif PUBACK in line:
            found.append("ack")
    return found


@pytest.mark.parametrize("durability", list(Durability))
def test_a_flush_comes_before_each_acknowledgement(durability: Durability, tmp_path: Path) -> None:
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    trace = tmp_path / "trace"
    with broker(
        fields={"durability": durability}, segment_size=65_536, mosquitto=(*STRACE, "-o", str(trace), MOSQUITTO)
    ) as made:
        made.start()
        with Peer(made.port, "publisher") as publisher:
            for _ in range(MESSAGES):
                assert publisher.publish("m/t") == 0
        assert len(made.spooled_marks()) == MESSAGES
        found = calls(trace)
        made.launcher.close()  # the broker ends by itself; strace with it
        made.ended()
    assert found.count("ack") == MESSAGES
    if durability is Durability.BUFFERED:
        assert "data" not in found
        assert "names" not in found
        return
    marked = [call for call in found if call != "names"]
    assert all(marked[at - 1] == "data" for at, call in enumerate(marked) if call == "ack")
    assert found[:4] == ["data", "names", "names", "ack"], "the folder of the epoch, and the one above"
    segments = found.count("names") // 2
    assert segments > 1
    assert found.count("data") == MESSAGES + segments - 1, "one for each mark, one for each full segment"
