"""What a tracker does wrong on request: how it signs otherwise, what it leaves out, what it sends beside its message.

Pure but for the signature: seed, device, number and kind decide what is done (`chance_of`). Who does it is `rogue`.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random

import cbor2

from sigillo.core.bytes import base64url_encode
from sigillo.core.cbor import encode_head
from sigillo.core.checkpoint import TreeHead, encode_tree_head
from sigillo.core.datagram import BEACON_SIZE
from sigillo.core.message import decode_device_message
from sigillo.device.beacon import Beacon
from sigillo.device.identity import reported_topic

MAX_SIZE = 268_435_000
"""Bytes of the largest payload: MQTT allows 268,435,455 after the fixed header, and a topic must fit as well."""
MAX_BURST = 65_535
"""MQTT has no more message ids."""

_MOST_SKIPPED = 5
_TEN_YEARS_MS = 10 * 365 * 86_400_000
_BLOCK = 1 << 20
_DEEP = 10_000


@dataclass(frozen=True)
class Mischief:
    """What is to be done wrong. `other`: device id for `other-topic`; `size`: bytes of `huge`; `burst`: of `flood`."""

    kinds: tuple[str, ...]
    other: str
    size: int
    burst: int


@dataclass
class Misdeeds:
    """What became of the messages of one kind. `sent` minus `accepted` and `refused` were never answered."""

    sent: int = 0
    accepted: int = 0
    """Acknowledged by the broker; at QoS 0 only written to the socket."""
    refused: Counter[str] = field(default_factory=Counter)
    """By name of the broker's reason code."""
    disconnected: int = 0
    """How often the broker cut the connection instead."""

    def add(self, more: Misdeeds) -> None:
        """Count these as well."""
        self.sent += more.sent
        self.accepted += more.accepted
        self.refused += more.refused
        self.disconnected += more.disconnected


@dataclass(frozen=True)
class Draft:
    """A reading that is about to be signed; `ts` in ms of Unix time; `seen`: what its device knows of a log, if any."""

    ver: int
    ts: int
    body: Mapping[str, object]
    indefinite: bool = False
    beacon: bytes | None = None
    seen: Beacon | None = None


@dataclass(frozen=True)
class Shot:
    """A PUBLISH as it leaves, `copies` times without waiting in between; `reconnects`: on a new connection."""

    topic: str
    payload: bytes
    qos: int
    copies: int = 1
    properties: tuple[tuple[str, str], ...] = ()
    reconnects: bool = False


@dataclass(frozen=True)
class Scene:
    """A message that the tracker has sent under its own number, and what may be done beside it."""

    draft: Draft
    message: Shot
    sign: Callable[[bytes], bytes]
    mischief: Mischief
    chance: Random


@dataclass(frozen=True)
class Behaviour:
    """One kind: the numbers it skips before the message, how it alters the message, what it sends after it."""

    summary: str
    skips: Callable[[Random], int] | None = None
    alters: Callable[[Draft, Random], Draft] | None = None
    adds: Callable[[Scene], Iterator[Shot]] | None = None


def chance_of(seed: int, device_id: str, number: int, kind: str) -> Random:
    """What decides about one message's misbehaviour of one kind."""
    return Random(f"{seed}/{device_id}/{number}/{kind}")  # noqa: S311 (no secret)


def _skipped(chance: Random) -> int:
    return chance.randint(1, _MOST_SKIPPED)


def _wrong_clock(draft: Draft, chance: Random) -> Draft:
    wrong = (0, draft.ts - _TEN_YEARS_MS, draft.ts + _TEN_YEARS_MS, 2**64 - 1)
    return replace(draft, ts=chance.choice(wrong))


def _eight_bit(draft: Draft, _chance: Random) -> Draft:
    return replace(draft, ver=draft.ver % 256)


def _definite(draft: Draft, _chance: Random) -> Draft:
    return replace(draft, indefinite=False)


def _indefinite(draft: Draft, _chance: Random) -> Draft:
    return replace(draft, indefinite=True)


def _stale_beacon(draft: Draft, _chance: Random) -> Draft:
    first = draft.seen.first if draft.seen else None
    return replace(draft, beacon=first.beacon_hash) if first else draft


def _unknown_beacon(draft: Draft, chance: Random) -> Draft:
    return replace(draft, beacon=chance.randbytes(BEACON_SIZE))


def _future_beacon(draft: Draft, chance: Random) -> Draft:
    newest = draft.seen.newest if draft.seen else None
    if newest is None:
        return draft
    later = TreeHead(newest.head.origin, 2 * newest.head.size + 1, chance.randbytes(32))
    return replace(draft, beacon=hashlib.sha256(encode_tree_head(later).encode("utf-8")).digest())


def _bad_signature(scene: Scene) -> Iterator[Shot]:
    signature = decode_device_message(scene.message.payload, scene.message.topic).signature
    forged = bytearray(scene.message.payload)
    bit = scene.chance.randrange(8 * len(signature))
    forged[forged.rindex(signature) + bit // 8] ^= 1 << bit % 8
    yield replace(scene.message, payload=bytes(forged))


def _repeat(scene: Scene) -> Iterator[Shot]:
    yield scene.message
    yield replace(scene.message, qos=2)
    yield replace(scene.message, reconnects=True)


def _other_topic(scene: Scene) -> Iterator[Shot]:
    yield replace(scene.message, topic=reported_topic(scene.mischief.other))


def _huge(scene: Scene) -> Iterator[Shot]:
    size = scene.mischief.size
    block = scene.chance.randbytes(min(size, _BLOCK))
    yield replace(scene.message, payload=(block * (size // _BLOCK + 1))[:size])


def _flood(scene: Scene) -> Iterator[Shot]:
    yield replace(scene.message, copies=scene.mischief.burst)


def _garbage(scene: Scene) -> Iterator[Shot]:
    for make in GARBAGE.values():
        yield replace(scene.message, payload=make(scene))
    forged = base64url_encode(scene.chance.randbytes(200))
    yield replace(scene.message, properties=(("time-mark", forged), ("time-mark", "")))


def _random_bytes(scene: Scene) -> bytes:
    return scene.chance.randbytes(scene.chance.randint(1, 400))


def _truncated(scene: Scene) -> bytes:
    return scene.message.payload[: scene.chance.randrange(1, len(scene.message.payload))]


def _empty(_scene: Scene) -> bytes:
    return b""


def _latin_1(scene: Scene) -> bytes:
    return f"{scene.chance.uniform(11, 13):.1f} °C".encode("latin-1")


def _not_utf_8(scene: Scene) -> bytes:
    return _datagram(scene, encode_head(3, 2) + b"\xb0C" + cbor2.dumps(12))


def _deep(scene: Scene) -> bytes:
    return _datagram(scene, cbor2.dumps("BODY") + encode_head(4, 1) * _DEEP + encode_head(4, 0))


def _duplicate_key(scene: Scene) -> bytes:
    return _datagram(scene, _pair("VER", scene.draft.ver + 1))


def _reserved_keys(scene: Scene) -> bytes:
    return _datagram(scene, *_broker_pairs(scene))


def _broker_keys(scene: Scene) -> bytes:
    """As a broker appends them: after `SIGN`."""
    return _datagram(scene, after=_broker_pairs(scene))


GARBAGE: Mapping[str, Callable[[Scene], bytes]] = {
    "random": _random_bytes,
    "truncated": _truncated,
    "empty": _empty,
    "latin-1": _latin_1,
    "not-utf-8": _not_utf_8,
    "deep": _deep,
    "duplicate-key": _duplicate_key,
    "reserved-keys": _reserved_keys,
    "broker-keys": _broker_keys,
}
"""Payloads that are no device message; those that look like one are signed by the device's own key."""


def _datagram(scene: Scene, *more: bytes, after: Sequence[bytes] = ()) -> bytes:
    """`TS`, `VER` and *more* pairs, signed as a datagram is; then the pairs *after* the signature."""
    pairs = [_pair("TS", scene.draft.ts), _pair("VER", scene.draft.ver), *more]
    signature = scene.sign(encode_head(5, len(pairs)) + b"".join(pairs))
    pairs += [_pair("SIGN", signature), *after]
    return encode_head(5, len(pairs)) + b"".join(pairs)


def _broker_pairs(scene: Scene) -> tuple[bytes, bytes]:
    return _pair("INGESTION_TIME", scene.draft.ts), _pair("VERIFICATION_TOKEN", scene.chance.randbytes(64))


def _pair(key: str, value: object) -> bytes:
    return cbor2.dumps(key) + cbor2.dumps(value)


BEHAVIOURS: Mapping[str, Behaviour] = {
    "bad-signature": Behaviour("also sends each message with one bit of its signature flipped", adds=_bad_signature),
    "gap": Behaviour(f"throws 1 to {_MOST_SKIPPED} numbers away before each message", skips=_skipped),
    "repeat": Behaviour("sends each message again, at QoS 2, and after a reconnect", adds=_repeat),
    "wrong-clock": Behaviour("signs a TS of 1970, ten years off, or the largest there is", alters=_wrong_clock),
    "other-topic": Behaviour("also sends each message on the topic of --other", adds=_other_topic),
    "eight-bit": Behaviour("VER wraps at 256, as in shipped firmware", alters=_eight_bit),
    "definite": Behaviour("writes definite maps, as without it", alters=_definite),
    "indefinite": Behaviour("writes indefinite maps, as shipped firmware", alters=_indefinite),
    "stale-beacon": Behaviour("echoes the first checkpoint that it has seen, for ever", alters=_stale_beacon),
    "unknown-beacon": Behaviour("echoes the hash of no checkpoint", alters=_unknown_beacon),
    "future-beacon": Behaviour("echoes a checkpoint that it made up, larger than the log", alters=_future_beacon),
    "garbage": Behaviour("also sends payloads that are no message, and forged time marks", adds=_garbage),
    "huge": Behaviour("also sends --size random bytes", adds=_huge),
    "flood": Behaviour("sends each message --burst times again without waiting", adds=_flood),
}
"""By kind, in the order in which they are listed."""
KINDS = tuple(BEHAVIOURS)
