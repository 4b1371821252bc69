"""The broker's process: keys that no core file holds, and a hot path without system calls."""

from __future__ import annotations

import pwd
import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from .launcher import Broker, broker, is_root, wait_until
from .peer import Peer, Wire, publish_packet

MESSAGES = 300


def secret_pages(pid: int) -> list[set[str]]:
    """Flags of the mappings that are locked, not dumped, wiped on fork."""
    try:
        text = Path(f"/proc/{pid}/smaps").read_text()
    except PermissionError:
        pytest.skip("may not read the broker's smaps")
    flags = [set(line.split()[1:]) for line in text.splitlines() if line.startswith("VmFlags:")]
    if not flags:
        pytest.skip("this kernel's smaps has no VmFlags")
    return [each for each in flags if {"lo", "dd", "wf"} <= each]


def test_one_page_holds_the_secrets(running: Broker) -> None:
    assert len(secret_pages(running.process.pid)) == 1


def writable(pid: int) -> Iterator[tuple[int, int]]:
    """Start and end of the mappings that can be written."""
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        span, flags, *_ = line.split()
        start, end = (int(part, 16) for part in span.split("-"))
        if "w" in flags:
            yield start, end


def test_memory_holds_one_copy_of_the_key(running: Broker) -> None:
    """Neither the stack nor the heap keeps what making and using the key left there."""
    public_key = running.signed.statement.epoch_key
    with Peer(running.port, "publisher") as publisher:
        for i in range(50):
            assert publisher.publish("m/t", b"%d" % i) == 0
    pid = running.process.pid
    found = []
    try:
        with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
            for start, end in writable(pid):
                memory.seek(start)
                found.append(memory.read(end - start))
    except PermissionError:
        pytest.skip("may not read the broker's memory")
    seeds = {
        content[at - 32 : at]
        for content in found
        for at in occurrences(content, public_key)
        if at >= 32 and raw_public_key(content[at - 32 : at]) == public_key
    }
    assert len(seeds) == 1  # libsodium keeps seed ‖ public key
    seed = seeds.pop()
    assert sum(len(occurrences(content, seed)) for content in found) == 1


def occurrences(content: bytes, part: bytes) -> list[int]:
    return [match.start() for match in re.finditer(re.escape(part), content)]


def raw_public_key(seed: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def test_broker_is_not_dumpable() -> None:
    """What /proc says of a process that may not be dumped belongs to root, whoever runs it."""
    if not is_root():
        pytest.skip("needs root, to start the broker as another user")
    user = pwd.getpwnam("mosquitto").pw_uid
    with broker(run_as="mosquitto") as made, subprocess.Popen(["sleep", "60"], user=user) as plain:
        made.start()
        owners = [Path(f"/proc/{process.pid}/maps").stat().st_uid for process in (plain, made.process)]
        plain.kill()
    assert owners == [user, 0]


def detach(strace: subprocess.Popen[bytes]) -> None:
    strace.terminate()
    try:
        strace.wait(10)
    except subprocess.TimeoutExpired:
        strace.kill()
        strace.wait()


def traced(made: Broker, topic: str) -> Counter[str]:
    """System calls of the broker while it reads MESSAGES messages with QoS 0."""
    wire = Wire(made.port, f"publisher-{topic[0]}")
    output = made.folder / f"trace-{topic[0]}"
    strace = subprocess.Popen(["strace", "-p", str(made.process.pid), "-o", output], stderr=subprocess.PIPE)
    try:
        wait_until(lambda: strace.poll() is not None or (output.exists() and output.stat().st_size > 0), "strace")
        if strace.poll() is not None:
            pytest.skip(f"strace may not attach: {strace.stderr.read().decode().strip()}")
        time.sleep(0.2)
        before = len(output.read_text().splitlines())
        wire.send(publish_packet(topic, b"payload") * MESSAGES)
        wire.barrier()
    finally:
        detach(strace)
        wire.close()
    return Counter(line.partition("(")[0] for line in output.read_text().splitlines()[before:] if "(" in line)


def test_mark_costs_no_system_call(running: Broker) -> None:
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    unmarked, marked = traced(running, "other/t"), traced(running, "m/other")
    assert len(running.spooled_marks()) == MESSAGES
    assert sum(unmarked.values()) > MESSAGES  # the trace saw the work
    for name in marked.keys() | unmarked.keys():
        if name != "clock_gettime":  # elsewhere the vDSO answers it
            assert marked[name] - unmarked[name] < MESSAGES / 10, (name, marked, unmarked)
