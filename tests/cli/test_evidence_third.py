"""`sigillo evidence` brings what others said of the log: time-stamp tokens, cosignatures, and echoed checkpoints."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from sigillo import disk
from sigillo.archive import beacon as beacon_module
from sigillo.archive.store import Store
from sigillo.core.appraise import appraise
from sigillo.core.checkpoint import SignedCheckpoint, encode_checkpoint
from sigillo.core.cosignature import sign_cosignature
from sigillo.core.evidence_line import CheckpointLine, Line, MessageLine, StopLine, TokenLine
from sigillo.core.line import split_lines
from sigillo.core.note import Note
from sigillo.core.policy import AnchorTrust, MissingTrust, WitnessTrust
from sigillo.core.verdict import Verdict
from sigillo.log.anchor import Anchor, AnchorStore
from sigillo.witness.key import SigningWitnessKey

from ..adversary.broker import NOW_NS, SECOND
from ..adversary.forge import body
from ..adversary.tsa import Tsa
from .test_evidence_log import Scene as LogScene

ONE, TWO = Tsa("One Time"), Tsa("Two Time")


class Scene(LogScene):
    """As there, with time-stamp authorities and a witness; the archive misses nothing."""

    def __init__(self, folder: Path, store: Store, witness: Path) -> None:
        super().__init__(folder, store)
        witness.mkdir()
        self.witness = SigningWitnessKey.open(witness, "witness.example/w1", None)

    def send(self, *, beacon: SignedCheckpoint | None = None) -> SignedCheckpoint:
        """A message of the first tracker, logged; the checkpoint over it."""
        self.publish(self.devices[0], beacon=beacon)
        return self.log()

    def heads(self) -> None:
        with self.operator.open(heads_interval_s=0) as log:
            while log.round():
                pass

    def anchor(self, signed: SignedCheckpoint, *tsas: Tsa) -> None:
        """A token of each over this checkpoint, with the list of its root, logged; their times are the broker's."""
        store = AnchorStore(self.operator.log)
        for tsa in tsas:
            seconds, ns = divmod(self.operator.broker.clock_ns, SECOND)
            moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
            time = f"{moment:%Y%m%d%H%M%S}.{ns // 10**6:03}".rstrip("0").rstrip(".") + "Z"
            note = encode_checkpoint(signed)
            token, crls = tsa.stamp(note, time=time.encode()), (tsa.root.revocations(),)
            store.add(Anchor(tsa.name, "http://tsa.example/", note, token, crls=crls))
        self.log()
        assert len(store.settle()) == len(tsas)

    def cosign(self, signed: SignedCheckpoint) -> SignedCheckpoint:
        public = self.witness.public
        line = sign_cosignature(signed.note, public, self.operator.broker.clock_ns // SECOND, self.witness.sign)
        cosigned = SignedCheckpoint(Note(signed.note.text, (*signed.note.signatures, line)), signed.head)
        disk.replace(self.operator.log / "public" / "cosigned", encode_checkpoint(cosigned), disk.PUBLIC)
        return cosigned

    def judge(self, data: bytes, *, tsas: tuple[Tsa, ...] = (ONE,), **missing: bool) -> Verdict:
        """By a reader who demands k = all TSAs, the witness and a beacon, but for the permissions in *missing*."""
        policy = self.operator.broker.policy(
            *self.devices,
            missing=MissingTrust(**missing),
            tsas=tuple(tsa.trust() for tsa in tsas),
            anchors=AnchorTrust(len(tsas), 600 * SECOND),
            witnesses=(WitnessTrust(self.witness.public, "a university", "the university"),),
            witness_quorum=1,
        )
        return appraise(split_lines([data]), policy, NOW_NS)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with Store.open(tmp_path / "messages.sqlite") as store:
        made = Scene(tmp_path / "operator", store, tmp_path / "witness")
        made.start()
        made.log()
        yield made


def of_kind(data: bytes, *kinds: type[Line]) -> list[Line]:
    return [line for line in body(data) if isinstance(line, kinds)]


def test_a_message_between_two_tokens_under_a_cosigned_checkpoint_verifies(scene: Scene) -> None:
    """The strictest reader: every third party, and nothing permitted."""
    scene.anchor(scene.send(), ONE)
    echoed = scene.send()
    scene.publish(scene.devices[0], beacon=echoed)
    scene.anchor(scene.log(), ONE)
    scene.cosign(scene.log())
    data, tally = scene.export(cosigned=True, last=1)
    verdict = scene.judge(data)
    assert verdict.verified, verdict.reason
    assert tally.messages == 1
    assert [type(line) for line in of_kind(data, TokenLine, MessageLine, CheckpointLine)] == [
        TokenLine,
        CheckpointLine,
        MessageLine,
        TokenLine,
    ]
    bounds = verdict.to_json()["bounds"]
    assert all(bounds.values()), bounds
    assert any("certificates were not revoked as of" in limit for limit in verdict.limits)
    assert not any("no revocation data" in limit for limit in verdict.limits)


def test_tokens_stand_in_log_order_below_the_stops_of_their_notes(scene: Scene) -> None:
    for _ in range(3):
        scene.anchor(scene.send(), ONE, TWO)
    data, _ = scene.export()
    seen, last = set(), -1
    for line in body(data):
        if isinstance(line, StopLine):
            seen.add(line.size)
        elif isinstance(line, TokenLine):
            assert int(line.note.split("\n")[1]) in seen
        if isinstance(line, TokenLine | MessageLine):
            assert line.index is not None and line.index > last
            last = line.index
    assert len(of_kind(data, TokenLine)) == 6
    verdict = scene.judge(data, tsas=(ONE, TWO), allow_unwitnessed=True, allow_no_beacon=True, allow_unanchored=True)
    assert verdict.verified, verdict.reason


def test_only_the_nearest_tokens_are_brought(scene: Scene) -> None:
    for _ in range(4):
        scene.anchor(scene.log(), ONE)
        scene.operator.mark(principals=1)  # of somebody else
    message = scene.send()
    for _ in range(4):
        scene.anchor(message, ONE)
        scene.operator.mark(principals=1)
        message = scene.log()
    data, _ = scene.export()
    assert len(of_kind(data, TokenLine)) == 2


def test_without_a_later_token_the_upper_bound_is_pending(scene: Scene) -> None:
    scene.anchor(scene.send(), ONE)
    scene.send()
    data, _ = scene.export(last=1)
    others = {"allow_unwitnessed": True, "allow_no_beacon": True}
    assert not scene.judge(data, **others).verified
    assert scene.judge(data, **others, allow_unanchored=True).verified


def test_a_cosigned_checkpoint_that_is_older_shows_what_it_covers(scene: Scene) -> None:
    cosigned = scene.cosign(scene.send())
    for _ in range(300):  # the partial tiles of then are full by now
        scene.operator.mark(principals=1)
    scene.send()
    data, tally = scene.export(cosigned=True)
    assert (tally.messages, tally.pending) == (1, 1)
    assert json.loads(data.splitlines()[-1])["checkpoint"] == encode_checkpoint(cosigned).decode()
    verdict = scene.judge(data, allow_unanchored=True, allow_no_beacon=True)
    assert verdict.verified, verdict.reason


def echo(scene: Scene, *, between: int) -> bytes:
    """A device echoes a checkpoint that no mark names, and so many entries come before its mark."""
    scene.send()
    scene.operator.mark(principals=1)
    echoed = scene.operator.run()  # the broker is not told
    for _ in range(between):
        scene.operator.mark(principals=1)
        scene.log()
    scene.publish(scene.devices[0], beacon=echoed)
    scene.log()
    data, _ = scene.export()
    return data


@pytest.mark.parametrize("between", [0, 1, 7])
def test_an_echoed_checkpoint_is_found_though_no_mark_names_it(scene: Scene, between: int) -> None:
    assert len(of_kind(echo(scene, between=between), CheckpointLine)) == 1


def test_an_echoed_checkpoint_from_too_long_ago_is_not_found(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beacon_module, "REACH", 5)
    assert not of_kind(echo(scene, between=6), CheckpointLine)


def test_an_unknown_beacon_fails_and_costs_no_more_than_its_limit(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beacon_module, "MOST_TRIED", 20)
    signed = scene.log()
    stranger = SignedCheckpoint(Note("other/log\n1\nAAAA\n", ()), signed.head)
    for _ in range(30):
        scene.publish(scene.devices[0], beacon=stranger)
        scene.log()
    data, _ = scene.export()
    assert not of_kind(data, CheckpointLine)
    verdict = scene.judge(data, allow_unanchored=True, allow_unwitnessed=True)
    assert [check.step for check in verdict.checks if check.failures.count] == [20]
