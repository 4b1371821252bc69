"""Handshake packets, both directions."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sigillo.core.errors import DecodeError
from sigillo.core.handshake import (
    MAX_BEACON,
    Counters,
    Go,
    NewCheckpoint,
    Packet,
    RunTime,
    State,
    Statement,
    decode_packet,
    encode_packet,
)
from sigillo.core.mark import Checkpoint
from tests.core.test_mark import HASH, U64
from tests.vector import sample

RUN_TIME = RunTime(spool_folder="/var/lib/sigillo", segment_size=65_536, max_principals=1, clock_bound_meaningful=False)
PACKETS: list[Packet] = [
    State(sample.NEXT_FIELDS, RUN_TIME),
    Statement(sample.FIRST_STATEMENT),
    Go(sample.EPOCH_ID),
    NewCheckpoint(Checkpoint()),
    NewCheckpoint(Checkpoint(2**64 - 1, bytes(32))),
    NewCheckpoint(Checkpoint(1, bytes(32)), b"note"),
    Counters(*range(1, 14)),
]


@pytest.mark.parametrize("packet", PACKETS, ids=lambda packet: type(packet).__name__)
def test_round_trip(packet: Packet) -> None:
    encoded = encode_packet(packet)
    assert decode_packet(encoded) == packet
    if isinstance(packet, NewCheckpoint):  # a note may have any length
        encoded = encoded[:41]
        assert decode_packet(encoded + b"\0") == NewCheckpoint(packet.checkpoint, b"\0")
    else:
        with pytest.raises(DecodeError):
            decode_packet(encoded + b"\0")
    for length in range(len(encoded)):
        with pytest.raises(DecodeError):
            decode_packet(encoded[:length])


@given(st.tuples(*[U64] * 13), HASH, st.integers(1, 2**64 - 1))
def test_numbers(counts: tuple[int, ...], root: bytes, size: int) -> None:
    assert decode_packet(encode_packet(Counters(*counts))) == Counters(*counts)
    assert decode_packet(encode_packet(NewCheckpoint(Checkpoint(size, root)))) == NewCheckpoint(Checkpoint(size, root))


@given(st.integers(0, 255), st.binary(max_size=80))
@settings(max_examples=300)
def test_what_decodes_re_encodes_to_itself(kind: int, body: bytes) -> None:
    data = bytes([kind]) + body
    try:
        packet = decode_packet(data)
    except DecodeError:
        return
    assert encode_packet(packet) == data


@pytest.mark.parametrize(
    "packet",
    [
        Go(bytes(31)),
        NewCheckpoint(Checkpoint(0, bytes(32))),
        NewCheckpoint(Checkpoint(2**64, bytes(32))),
        NewCheckpoint(Checkpoint(1, bytes(31))),
        NewCheckpoint(Checkpoint(1, bytes(32)), bytes(MAX_BEACON + 1)),
        Counters(-1),
        Statement(b""),
        Statement(sample.FIRST_COUNTERSIGNED),
        State(sample.FIRST_FIELDS, dataclasses.replace(RUN_TIME, spool_folder="relative")),
        State(sample.FIRST_FIELDS, dataclasses.replace(RUN_TIME, segment_size=65_537)),
        State(sample.FIRST_FIELDS, dataclasses.replace(RUN_TIME, max_principals=0)),
        State(dataclasses.replace(sample.FIRST_FIELDS, filters=()), RUN_TIME),
        State(dataclasses.replace(sample.FIRST_FIELDS, bridge_principals=("b" * 65_535,)), RUN_TIME),
    ],
    ids=lambda packet: type(packet).__name__,
)
def test_what_cannot_be_decoded_is_not_encoded(packet: Packet) -> None:
    with pytest.raises(DecodeError):
        encode_packet(packet)


def test_the_statement_in_its_packet() -> None:
    packet = decode_packet(encode_packet(Statement(sample.FIRST_STATEMENT)))
    assert isinstance(packet, Statement)
    assert packet.decode().epoch_id == sample.EPOCH_ID
