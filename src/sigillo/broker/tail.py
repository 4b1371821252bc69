"""What the spool of an epoch that is over says of its end (spec/spool.md). Believed only as far as signatures reach."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sigillo.core.entry import Kind
from sigillo.core.epoch import SignedEpochEnd, SignedStatement, decode_epoch_end
from sigillo.core.errors import DecodeError, SignatureError
from sigillo.core.mark import SignedMark, decode_mark
from sigillo.core.signature import verify_by_epoch_key
from sigillo.core.spool import Ending, Record, Segment, decode_segment


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of a spool. `end` and `last_mark` verify under the epoch key; `findings` say what did not hold."""

    end: SignedEpochEnd | None
    last_mark: SignedMark | None
    findings: tuple[str, ...]


def read_tail(folder: Path, signed: SignedStatement) -> Tail:
    """Read the spool *folder* of the epoch *signed* from its end, as far back as needed. The broker must be dead.

    A record whose signature is wrong is named and passed over, so what is believed was written by the epoch's plugin.
    Raises OSError.
    """
    findings: list[str] = []
    end: SignedEpochEnd | None = None
    paths = sorted(folder.glob("[0-9]*.spool"), reverse=True)
    if not paths:
        findings.append(f"{folder}: holds no segment")
    for path in paths:
        segment = _segment(path, signed, findings)
        for record in reversed(segment.records if segment else ()):
            found = _believed(record, path, signed, findings)
            if isinstance(found, SignedEpochEnd):
                end = end or found
            elif found:
                return Tail(end, found, (*findings, *_contradiction(end, found)))
    return Tail(end, None, tuple(findings))


def _segment(path: Path, signed: SignedStatement, findings: list[str]) -> Segment | None:
    try:
        segment = decode_segment(path.read_bytes())
    except FileNotFoundError:  # all of it is in the log by now
        return None
    except DecodeError as error:
        findings.append(f"{path}: {error}")
        return None
    if segment.header.epoch_id != signed.epoch_id:
        findings.append(f"{path}: is a segment of another epoch")
        return None
    if segment.end.ending is Ending.TORN:
        tail = "valid records behind it: a fault of disk or writer" if segment.end.valid_behind else "a torn tail"
        findings.append(f"{path}: ends at byte {segment.end.offset} ({segment.end.reason}), {tail}")
    return segment


def _believed(
    record: Record, path: Path, signed: SignedStatement, findings: list[str]
) -> SignedEpochEnd | SignedMark | None:
    try:
        if record.kind is Kind.EPOCH_END:
            end = decode_epoch_end(record.object_bytes)
            verify_by_epoch_key(end, signed.statement, signed.epoch_id)
            return end
        if record.kind is Kind.MARK:
            mark = decode_mark(record.object_bytes)
            verify_by_epoch_key(mark, signed.statement, signed.epoch_id)
            return mark
    except (DecodeError, SignatureError) as error:
        findings.append(f"{path}: the record at byte {record.offset} is not believed ({error})")
    return None


def _contradiction(end: SignedEpochEnd | None, mark: SignedMark) -> tuple[str, ...]:
    if end is None or end.end.last_sequence == mark.mark.sequence:
        return ()
    return (f"the epoch end names sequence {end.end.last_sequence} as the last, the spool has {mark.mark.sequence}",)
