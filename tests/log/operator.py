"""An operator's folder without a broker: the test's own plugin and launcher, byte for byte as the real ones write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sigillo.core.checkpoint import SignedCheckpoint
from sigillo.core.entry import Kind
from sigillo.core.epoch import EndReason, EpochEnd, decode_statement, encode_epoch_end
from sigillo.core.mark import Checkpoint
from sigillo.core.spool import CONTINUES, HEADER_SIZE, SegmentHeader, encode_header, encode_record
from sigillo.core.statement import HowEnded, Previous
from sigillo.log import fsck as fsck_module
from sigillo.log import record, store
from sigillo.log.fsck import Fault, fsck
from sigillo.log.public import PublicLog
from sigillo.log.writer import Log, create_log

from ..adversary.broker import SECOND, Broker

SEGMENT_SIZE = 16_384
TOPIC = "braid/agent/crate/shadow/reported/x"


class Operator:
    """`log/`, `spool/` and `epochs/` below a folder, and the broker of :mod:`tests.adversary` that fills them."""

    def __init__(self, folder: Path, segment_size: int = SEGMENT_SIZE) -> None:
        self.folder = folder
        self.log, self.spool, self.epochs = folder / "log", folder / "spool", folder / "epochs"
        self.broker = Broker()
        self.segment_size = segment_size
        self.checkpoint = Checkpoint()  # that the plugin has seen
        self._segment = 0
        self._offset = 0

    def create(self) -> Operator:
        for path in (self.log, self.spool, self.epochs):
            path.mkdir(parents=True)
        create_log(self.log, self.broker.log_key, self.broker.log_private.sign)
        (self.log / "log.vkey").write_text(f"{self.broker.log_key.vkey}\n")
        return self

    def open(self, **options: Any) -> Log:
        broker = self.broker
        sign = options.pop("sign", broker.log_private.sign)
        return Log.open(self.log, broker.log_key, sign, spool=self.spool, epochs=self.epochs, **options)

    def run(self) -> SignedCheckpoint:
        """Open the log, log all there is, close it."""
        with self.open() as log:
            while log.round():
                pass
            return log.checkpoint

    def public(self) -> PublicLog:
        return PublicLog(self.log / "public")

    def start(self, **lies: Any) -> None:
        """L1 and the first record of the spool."""
        epoch = self.broker.start(**lies)
        name = f"{epoch.number:010}"
        (self.epochs / f"{name}.cose").write_bytes(epoch.countersigned)
        (self.spool / name).mkdir()
        self._segment = -1
        self._next_segment()
        statement = decode_statement(epoch.countersigned)
        sign1 = statement.sign1
        bare = type(sign1)(sign1.form, sign1.protected_bytes, sign1.protected, {}, sign1.payload, sign1.signature)
        self.record(Kind.EPOCH_STATEMENT, 0, bare.encode())

    def mark(self, count: int = 1, principals: int = 3, **lies: Any) -> None:
        """P1, *count* times, for principals in turn."""
        for _ in range(count):
            assert self.broker.epoch
            principal = f"crate-{self.broker.epoch.sequence % principals}"
            lies.setdefault("checkpoint", self.checkpoint)
            line = self.broker.mark(TOPIC, b"payload", principal, **lies)
            self.record(Kind.MARK, self.broker.epoch.sequence, line.mark)

    def end(self, **lies: Any) -> None:
        """P4: a clean end."""
        broker = self.broker
        epoch = broker.epoch
        assert epoch
        broker.clock_ns += SECOND
        values: dict[str, Any] = {
            "last_sequence": epoch.sequence,
            "time_ns": broker.clock_ns,
            "last": epoch.last,
        } | lies
        end = EpochEnd(clock=broker.clock, reason=EndReason.STOP, **values)
        self.record(Kind.EPOCH_END, end.last_sequence, encode_epoch_end(end, epoch.epoch_id, epoch.key.sign))
        broker._close(HowEnded.CLEAN, end.last_sequence, end.time_ns)

    def die(self) -> None:
        self.broker.die()

    def lose_marks(self, sequence: int, time_ns: int) -> None:
        """What the launcher states after a power cut took marks: logged up to *sequence*."""
        ended = self.broker._ended
        assert ended
        self.broker._ended = Previous(HowEnded.LOGGED_UP_TO, ended.epoch_id, sequence, time_ns)

    def record(self, kind: Kind, sequence: int, data: bytes) -> None:
        record = encode_record(kind, sequence, data)
        if self._offset + len(record) > self.segment_size:
            if self._offset + 4 <= self.segment_size:
                self.patch(self._offset, CONTINUES.to_bytes(4, "big"))
            self._next_segment()
        self.patch(self._offset, record)
        self._offset += len(record)

    def segment_path(self, number: int | None = None) -> Path:
        assert self.broker._number
        return self.spool / f"{self.broker._number:010}" / f"{self._segment if number is None else number:06}.spool"

    def patch(self, offset: int, data: bytes) -> None:
        with self.segment_path().open("r+b") as file:
            file.seek(offset)
            file.write(data)

    def _next_segment(self) -> None:
        epoch = self.broker.epoch
        assert epoch
        self._segment += 1
        header = encode_header(SegmentHeader(epoch.number, self._segment, epoch.epoch_id, self.segment_size))
        self.segment_path().write_bytes(header.ljust(self.segment_size, b"\0"))
        self._offset = HEADER_SIZE


def entries(operator: Operator) -> list[bytes]:
    """All entries of the log's checkpoint."""
    public = operator.public()
    return list(public.entry_bytes(0, public.size))


def check(operator: Operator) -> None:
    """fsck finds nothing."""
    for _ in fsck(operator.folder, operator.broker.log_key):
        pass


def fault(operator: Operator) -> Fault:
    """The fault that fsck finds."""
    with pytest.raises(Fault) as raised:
        check(operator)
    return raised.value


def small_segments(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Segments of the store have so few entries; for the time of a test."""
    for module in (record, store, fsck_module):
        monkeypatch.setattr(module, "SEGMENT_ENTRIES", count)
