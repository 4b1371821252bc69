"""The handshake (spec/handshake.md): without all of it the broker does not listen."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from sigillo.core import cbor, handshake
from sigillo.core.handshake import Go, State, encode_packet
from sigillo.core.statement import (
    Durability,
    HowEnded,
    MarkedFilter,
    Mode,
    OnBadClock,
    Previous,
    encode_statement_fields,
)

from .launcher import Broker, broker
from .peer import Peer

ONLY_BY_UP = 'start the broker with "sigillo up"'


def refused(made: Broker) -> str:
    """Wait for the end; the broker never listened, and said why."""
    while True:
        assert not made.listens()
        try:
            status = made.process.wait(0.02)
        except subprocess.TimeoutExpired:
            continue
        assert status > 0, made.log
        return made.log


@contextmanager
def standard_input(kind: str) -> Iterator[object]:
    if kind == "null":
        yield subprocess.DEVNULL
    elif kind == "pipe":
        yield subprocess.PIPE
    else:
        ours, theirs = socket.socketpair(socket.AF_UNIX, getattr(socket, kind))
        with ours, theirs:
            yield theirs


@pytest.mark.parametrize("kind", ["null", "pipe", "SOCK_STREAM", "SOCK_DGRAM"])
def test_standard_input_must_be_the_launcher(kind: str) -> None:
    with broker() as made, standard_input(kind) as stdin:
        made.launch(stdin)
        assert ONLY_BY_UP in refused(made)


def test_launcher_gone_at_once() -> None:
    with broker() as made:
        made.launch()
        made.launcher.close()
        assert "the launcher closed the connection" in refused(made)


@pytest.mark.slow
@pytest.mark.parametrize("step", ["STATE", "GO"])
def test_silent_launcher_is_waited_for_but_not_for_ever(step: str) -> None:
    with broker() as made:
        if step == "STATE":
            made.launch()
        else:
            shake_until_go(made)
        assert made.process.wait(60) > 0
        assert "the launcher said nothing for 30 s" in made.log
        assert not made.listens()
        assert not any(made.spool.iterdir())


def shake_until_go(made: Broker) -> bytes:
    made.launch()
    made.launcher.send(encode_packet(made.state()))
    packet = handshake.decode_packet(made.launcher.recv(handshake.MAX_PACKET))
    assert isinstance(packet, handshake.Statement)
    return packet.decode().epoch_id


def test_launcher_gone_before_go() -> None:
    with broker() as made:
        shake_until_go(made)
        made.launcher.close()
        assert "the launcher closed the connection" in refused(made)
        assert not any(made.spool.iterdir())


GOES: dict[str, Callable[[bytes], bytes]] = {
    "another epoch": lambda epoch_id: encode_packet(Go(epoch_id[:-1] + bytes([epoch_id[-1] ^ 1]))),
    "31 bytes": lambda epoch_id: b"\x03" + epoch_id[:-1],
    "33 bytes": lambda epoch_id: b"\x03" + epoch_id + b"\0",
    "no bytes": lambda epoch_id: b"\x03",
    "another type": lambda epoch_id: b"\x04" + epoch_id,
}


@pytest.mark.parametrize("name", GOES)
def test_go_must_name_the_epoch(name: str) -> None:
    with broker() as made:
        epoch_id = shake_until_go(made)
        made.launcher.send(GOES[name](epoch_id))
        expected = "another packet" if name == "another type" else "confirmed another epoch"
        assert expected in refused(made)
        assert not any(made.spool.iterdir())


def test_state_must_come_first() -> None:
    with broker() as made:
        made.launch()
        made.launcher.send(encode_packet(Go(bytes(32))))
        assert "another packet" in refused(made)


def malformed(state: State) -> Iterator[tuple[str, bytes, str]]:
    whole = encode_packet(state)
    values = encode_statement_fields(state.fields)
    run_time = {1: "/tmp", 2: 65536, 3: 1, 4: False, 5: False, 6: 0, 7: 0, 8: False}
    yield "no body", whole[:1], "array of two maps"
    yield "cut", whole[:-1], "array of two maps"
    yield "a byte behind", whole + b"\0", "array of two maps"
    yield "our key", b"\x01" + cbor.encode([values | {4: bytes(32)}, run_time], "STATE"), "a key that is the plugin's"
    without = {key: value for key, value in values.items() if key != 14}
    yield "no filters", b"\x01" + cbor.encode([without, run_time], "STATE"), "a key is missing"
    yield "odd segment", b"\x01" + cbor.encode([values, run_time | {2: 65537}], "STATE"), "segment size"
    batch = replace(state, fields=replace(state.fields, filters=(MarkedFilter("m/#", Mode.BATCH),)))
    yield "batch", encode_packet(batch), 'mode: this plugin has only "each"'
    strict = replace(state.fields, durability=Durability.STRICT)
    yield "strict", encode_packet(replace(state, fields=strict)), 'durability: this plugin has only "buffered"'
    before, key, after = encode_packet(state).rpartition(b"\x05\xf4\x06")  # our own encoder refuses it
    yield "raw", before + key.replace(b"\xf4", b"\xf5") + after, 'raw tokens: no filter has the carrier "datagram"'


def test_malformed_states() -> None:
    with broker() as made:
        cases = list(malformed(made.state()))
    for name, packet, expected in cases:
        with broker() as made:
            made.launch()
            made.launcher.send(packet)
            assert expected in refused(made), name
            assert not any(made.spool.iterdir()), name


def test_clock_before_the_previous_epoch() -> None:
    previous = Previous(HowEnded.CLEAN, bytes(32), 5, 2**62)
    with broker(fields={"number": 2, "previous": previous}) as made:
        made.launch()
        made.launcher.send(encode_packet(made.state()))
        assert "the clock is before the end of the previous epoch" in refused(made)


def test_spool_that_cannot_be_written() -> None:
    with broker() as made:
        made.spool.rmdir()
        epoch_id = shake_until_go(made)
        made.launcher.send(encode_packet(Go(epoch_id)))
        assert "cannot open the spool" in refused(made)


def test_epoch_of_a_spool_folder_is_never_written_twice() -> None:
    with broker() as made:
        (made.spool / "0000000001").mkdir()
        epoch_id = shake_until_go(made)
        made.launcher.send(encode_packet(Go(epoch_id)))
        assert "cannot open the spool" in refused(made)


def test_unsynchronised_clock_may_be_refused() -> None:
    """Which one this machine has is not ours to say; the start is refused exactly where the marks would say so."""
    with broker() as made:
        made.start()
        with Peer(made.port, "publisher") as publisher:
            publisher.publish("m/t")
        clock = made.spooled_marks()[0].mark.clock
    assert clock.state in ("unsynchronised", "bound-unknown")  # no bound: STATE says it means nothing here
    with broker(fields={"on_bad_clock": OnBadClock.REFUSE}) as made:
        made.launch()
        made.launcher.send(encode_packet(made.state()))
        if clock.state == "unsynchronised":
            assert "the clock is not synchronised" in refused(made)
        else:
            assert made.launcher.recv(handshake.MAX_PACKET)[0] == 2
