"""What each kind of misbehaviour makes of an honest message; nothing is sent here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sigillo.core.datagram import decode_datagram
from sigillo.core.errors import DecodeError, SignatureError
from sigillo.core.message import decode_device_message
from sigillo.device.error import DeviceError
from sigillo.device.link import Address
from sigillo.device.message import FORMS, Form, encode_message
from sigillo.device.misbehaviour import (
    BEHAVIOURS,
    GARBAGE,
    KINDS,
    MAX_BURST,
    MAX_SIZE,
    Draft,
    Mischief,
    Scene,
    Shot,
    chance_of,
)
from sigillo.device.rogue import check_loopback
from sigillo.device.signer import FileSigner
from tests.vector.key import TRACKER_ED25519, TRACKER_P256

TOPIC = "braid/agent/crate-1/shadow/reported/"
NOW_MS = 1_764_000_000_123
LARGEST_TS = 2**64 - 1


class VectorSigner(FileSigner):
    """One of the keys of the vectors."""

    def __init__(self, key: object) -> None:
        self.public_key = key.device_key
        self.sign = key.sign


SIGNERS = [VectorSigner(TRACKER_P256), VectorSigner(TRACKER_ED25519)]


def scene(
    kind: str, form: Form = "datagram", signer: VectorSigner = SIGNERS[0], *, seed: int = 1, indefinite: bool = False
) -> Scene:
    draft = Draft(7, NOW_MS, {"TEMP": 12.5}, indefinite)
    payload = encode_message(
        form, signer, "crate-1", TOPIC, ver=draft.ver, ts=draft.ts, body=draft.body, indefinite=indefinite
    )
    mischief = Mischief((kind,), other="crate-2", size=100, burst=9)
    return Scene(draft, Shot(TOPIC, payload, 1), signer.sign, mischief, chance_of(seed, "crate-1", 7, kind))


def added(kind: str, where: Scene) -> list[Shot]:
    adds = BEHAVIOURS[kind].adds
    assert adds
    return list(adds(where))


def altered(kind: str, draft: Draft, seed: int = 1) -> Draft:
    alters = BEHAVIOURS[kind].alters
    assert alters
    return alters(draft, chance_of(seed, "crate-1", draft.ver, kind))


@pytest.mark.parametrize("indefinite", [False, True])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("signer", SIGNERS, ids=["p256", "ed25519"])
def test_bad_signature_is_the_message_with_one_bit_changed(form: Form, signer: VectorSigner, indefinite: bool) -> None:
    for seed in range(40):
        where = scene("bad-signature", form, signer, seed=seed, indefinite=indefinite)
        (shot,) = added("bad-signature", where)
        honest = decode_device_message(where.message.payload, TOPIC)
        found = decode_device_message(shot.payload, shot.topic)
        assert found.signed_bytes == honest.signed_bytes
        assert bit_count(found.signature, honest.signature) == 1
        signer.public_key.verify(honest.signature, honest.signed_bytes)
        with pytest.raises(SignatureError):
            signer.public_key.verify(found.signature, found.signed_bytes)


def bit_count(one: bytes, other: bytes) -> int:
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).bit_count()


def test_gap_skips_a_few_numbers() -> None:
    skips = BEHAVIOURS["gap"].skips
    assert skips
    assert {skips(chance_of(1, "crate-1", number, "gap")) for number in range(99)} == {1, 2, 3, 4, 5}


def test_repeat_is_the_same_bytes_also_at_qos_2_and_after_a_reconnect() -> None:
    where = scene("repeat")
    message = where.message
    assert added("repeat", where) == [message, replace(message, qos=2), replace(message, reconnects=True)]


@given(st.integers(0, 10**6))
def test_wrong_clock_is_far_off_and_still_a_number(seed: int) -> None:
    draft = altered("wrong-clock", Draft(7, NOW_MS, {}), seed)
    assert abs(draft.ts - NOW_MS) > 9 * 365 * 86_400_000 and 0 <= draft.ts <= LARGEST_TS
    assert draft == Draft(7, draft.ts, {})


def test_other_topic_is_that_of_the_device_named() -> None:
    where = scene("other-topic")
    assert added("other-topic", where) == [replace(where.message, topic="braid/agent/crate-2/shadow/reported/")]


@given(st.integers(0, 2**64 - 1))
def test_eight_bit_wraps_at_256(number: int) -> None:
    assert altered("eight-bit", Draft(number, NOW_MS, {})).ver == number & 0xFF


def test_the_outer_map() -> None:
    draft = Draft(7, NOW_MS, {})
    assert altered("indefinite", draft).indefinite
    assert altered("definite", altered("indefinite", draft)) == draft == altered("definite", draft)


@given(st.sampled_from(sorted(GARBAGE)), st.integers(0, 10**6), st.sampled_from(FORMS))
@settings(max_examples=200, deadline=None)
def test_garbage_is_no_device_message(name: str, seed: int, form: Form) -> None:
    where = scene("garbage", form, seed=seed)
    with pytest.raises(DecodeError):
        decode_device_message(GARBAGE[name](where), TOPIC)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("empty", "cut off"),
        ("not-utf-8", "not UTF-8"),
        ("deep", "nested deeper"),
        ("duplicate-key", "'VER' occurs twice"),
        ("reserved-keys", "the key INGESTION_TIME has no place"),
        ("broker-keys", "SIGN is not its last key"),
    ],
)
def test_garbage_is_wrong_in_the_way_that_it_says(name: str, reason: str) -> None:
    with pytest.raises(DecodeError, match=reason):
        decode_datagram(GARBAGE[name](scene("garbage")))


def test_garbage_ends_with_forged_marks_on_the_message_itself() -> None:
    where = scene("garbage")
    shots = added("garbage", where)
    assert len(shots) == len(GARBAGE) + 1
    assert shots[-1].payload == where.message.payload
    assert [name for name, _ in shots[-1].properties] == ["time-mark", "time-mark"]


@pytest.mark.parametrize("size", [0, 1, 2**20 - 1, 2**20, 2**20 + 1, 3 * 2**20])
def test_huge_has_the_size_asked_for(size: int) -> None:
    where = scene("huge")
    where = replace(where, mischief=replace(where.mischief, size=size))
    assert [len(shot.payload) for shot in added("huge", where)] == [size]


def test_the_largest_payload_fits_a_packet_whatever_the_device_is_called() -> None:
    topic = TOPIC.replace("crate-1", "x" * 128)
    properties, content_type = 4, 3 + len('application/cose; cose-type="cose-sign1"')
    packet_id = 2
    assert MAX_SIZE + 2 + len(topic) + packet_id + properties + content_type <= 268_435_455
    assert MAX_BURST == 0xFFFF


def test_flood_is_one_shot_of_many_copies() -> None:
    where = scene("flood")
    assert added("flood", where) == [replace(where.message, copies=9)]


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_decides(kind: str) -> None:
    """All but the time and P-256's random signatures."""
    behaviour = BEHAVIOURS[kind]
    assert sum(part is not None for part in (behaviour.skips, behaviour.alters, behaviour.adds)) == 1

    def all_of_it(seed: int) -> list[object]:
        return [
            outcome(behaviour.skips, chance_of(seed, "crate-1", 7, kind)),
            outcome(behaviour.alters, Draft(7, NOW_MS, {}), chance_of(seed, "crate-1", 7, kind)),
            behaviour.adds and added(kind, scene(kind, signer=SIGNERS[1], seed=seed)),
        ]

    assert all_of_it(3) == all_of_it(3)
    if kind in ("bad-signature", "gap", "wrong-clock", "garbage", "huge"):
        assert any(all_of_it(seed) != all_of_it(3) for seed in range(4, 9))


def outcome(part: Callable[..., object] | None, *arguments: object) -> object:
    return part(*arguments) if part else None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_this_machine_may_be_attacked(host: str) -> None:
    check_loopback(Address(host, 8883))


@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "10.0.0.1", "192.0.2.1", "::", "fe80::1", "broker.example", "localhost.example", "127.0.0.1.example"],
)
def test_no_other_machine_may(host: str) -> None:
    with pytest.raises(DeviceError, match="on this machine only"):
        check_loopback(Address(host, 8883))
