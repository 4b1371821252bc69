"""The epochs so far: countersigned statements and epoch ends on disk, and how the newest of them ended by the log.

Durability: a statement is on disk, with its name, before the plugin hears GO. So an epoch number is never used twice,
and every mark that ever left has its statement here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from sigillo import disk
from sigillo.broker.error import BrokerError
from sigillo.broker.logged import Logged
from sigillo.broker.tail import Tail, read_tail
from sigillo.core.entry import Kind
from sigillo.core.epoch import SignedEpochEnd, SignedStatement, decode_epoch_end, decode_statement
from sigillo.core.errors import DecodeError, SignatureError
from sigillo.core.mark import SignedMark, decode_mark
from sigillo.core.note import LogKey
from sigillo.core.signature import verify_by_epoch_key, verify_countersignature, verify_own_signature
from sigillo.core.spool import decode_segment
from sigillo.core.statement import HowEnded, Previous

NewestArchived = Callable[[bytes], Iterable[bytes]]
"""Epoch id → the marks that the archive has of it, highest sequence first (not verified)."""

_MAX_FORGED = 10_000
"""Marks of the archive that are tried: forged ones (in last wills) can come first, but must not cost hours."""
_STATEMENT = re.compile(r"(\d{10})\.cose")
_COMPANION = re.compile(r"(\d{10})\.(?:boot|end\.cose)")
_SPOOL = re.compile(r"(\d{10})")
_RESTORE = "put the right file back from your backup"


@dataclass(frozen=True, slots=True)
class Past:
    """What came before the next epoch. `findings`: what did not hold in the spool, for the operator."""

    next_number: int
    previous: Previous | None
    epoch_key: bytes | None
    findings: tuple[str, ...]


class EpochStore:
    """The folders `epochs/` and `spool/` of an operator."""

    def __init__(self, epochs: Path, spool: Path, boot_id: str = "") -> None:
        """*boot_id*: of the running kernel, for who writes; after another boot the page cache of an epoch is gone."""
        self._epochs, self._spool, self._boot_id = epochs, spool, boot_id

    def numbers(self) -> list[int]:
        """Numbers of the stored epochs, ascending. Raises OSError."""
        return sorted(_numbers(self._epochs, _STATEMENT))

    def statement_path(self, number: int) -> Path:
        """Where the countersigned statement of an epoch is, or would be."""
        return self._path(number, "cose")

    def statement_bytes(self, number: int) -> bytes:
        """The countersigned statement of an epoch. Raises OSError."""
        return self.statement_path(number).read_bytes()

    def end_bytes(self, number: int) -> bytes | None:
        """The end of an epoch where it is known. Raises OSError."""
        path = self._path(number, "end.cose")
        return path.read_bytes() if path.exists() else None

    def store(self, number: int, countersigned: bytes) -> None:
        """Keep a statement; on return it is on disk. Raises FileExistsError where the number was used, OSError."""
        disk.create(self.statement_path(number), countersigned, disk.PUBLIC)
        disk.replace(self._path(number, "boot"), f"{self._boot_id}\n".encode(), disk.PUBLIC)

    def wait_for_broker(self, patience_s: float) -> None:
        """Until the broker of the newest epoch is dead: its plugin holds a lock on its spool. Raises BrokerError."""
        folder = self._spool / f"{max(self.numbers(), default=0):010}"
        if not folder.is_dir():
            return  # none, or it never listened
        descriptor = disk.open_folder(folder)
        try:
            disk.lock(descriptor, patience_s)
        except BlockingIOError:
            raise BrokerError(f"{folder}: the broker of this epoch still runs; stop it, then start again") from None
        finally:
            os.close(descriptor)

    def past(self, log_key: LogKey, logged: Logged | None, newest_archived: NewestArchived) -> Past:
        """How the newest epoch ended, as far as the log has it; where spool or archive have more, "logged up to".

        *logged*: the newest epoch of a log that has taken all there was. An end that is found is stored. Raises
        BrokerError where a stored file is gone, not what this operator's keys signed, or contradicts the log; OSError.
        """
        numbers = self.numbers()
        newest = numbers[-1] if numbers else 0
        self._refuse_lost(max(newest, logged.epoch if logged else 0), newest)
        if not numbers:
            return Past(1, None, None, ())
        signed = self._statement(newest, log_key)
        if logged is None or logged.epoch != newest:
            raise BrokerError(f"{self.statement_path(newest)}: is not in the log, which says why (log-finding)")
        previous, findings = self._ending(newest, signed, logged, newest_archived)
        return Past(newest + 1, previous, signed.statement.epoch_key, findings)

    def close(self, number: int, signed: SignedStatement) -> Tail:
        """Read the end of an epoch whose broker is dead, and store it if there is one. Raises OSError."""
        tail = read_tail(self._spool / f"{number:010}", signed)
        if tail.end:
            self._keep_end(number, tail.end)
        return tail

    def marks(self, number: int) -> Iterator[bytes]:
        """The marks that the spool of an epoch holds, in order, not verified; up to the first that is torn.

        Raises OSError.
        """
        for path in sorted((self._spool / f"{number:010}").glob("[0-9]*.spool")):
            segment = decode_segment(path.read_bytes())
            yield from (record.object_bytes for record in segment.records if record.kind is Kind.MARK)

    def _refuse_lost(self, logged: int, newest: int) -> None:
        """A number whose statement is gone must not be signed again: two statements of one number are a lie."""
        used = max([logged, *_numbers(self._epochs, _COMPANION), *_numbers(self._spool, _SPOOL)])
        if used > newest:
            raise BrokerError(
                f"{self.statement_path(used)}: is gone, but epoch {used} has left other files; put the statement back "
                "from your backup"
            )

    def _ending(
        self, number: int, signed: SignedStatement, logged: Logged, newest_archived: NewestArchived
    ) -> tuple[Previous, tuple[str, ...]]:
        if logged.end is not None:
            end = self._logged_end(number, signed, logged.end)
            return Previous(HowEnded.CLEAN, signed.epoch_id, end.end.last_sequence, end.end.time_ns), ()
        tail = self.close(number, signed)
        last = _verified(logged.mark, signed) if logged.mark is not None else None
        marks = (_verified(data, signed) for data in islice(newest_archived(signed.epoch_id), _MAX_FORGED))
        archived = next((mark for mark in marks if mark), None)
        findings = (*tail.findings, *_beyond(number, logged, self._stored_end(number, signed), tail, archived))
        times = [mark.mark.time_ns for mark in (last, tail.last_mark, archived) if mark]
        time_ns = max([signed.statement.start_ns, *times, *([tail.end.end.time_ns] if tail.end else [])])
        complete = len(findings) == len(tail.findings)
        ended = HowEnded.UNCLEAN if complete and self._same_boot(number) else HowEnded.LOGGED_UP_TO
        return Previous(ended, signed.epoch_id, logged.last_sequence, time_ns), findings

    def _logged_end(self, number: int, signed: SignedStatement, data: bytes) -> SignedEpochEnd:
        """The end that the log has: the log verified it, and a stored one must be the same."""
        end = decode_epoch_end(data)
        stored = self._stored_end(number, signed)
        if stored and stored.object_hash != end.object_hash:
            raise BrokerError(
                f"{self._path(number, 'end.cose')}: is not the end that the log has; {_RESTORE}, or remove it"
            )
        self._keep_end(number, end)
        return end

    def _keep_end(self, number: int, end: SignedEpochEnd) -> None:
        if self.end_bytes(number) is None:
            disk.create(self._path(number, "end.cose"), end.sign1.encode(), disk.PUBLIC)

    def _statement(self, number: int, log_key: LogKey) -> SignedStatement:
        path = self.statement_path(number)
        try:
            signed = decode_statement(path.read_bytes())
            verify_own_signature(signed)
            verify_countersignature(signed, log_key.public_key)
        except (DecodeError, SignatureError) as error:
            raise BrokerError(f"{path}: {error}; {_RESTORE}") from None
        if signed.statement.number != number:
            raise BrokerError(f"{path}: is the statement of epoch {signed.statement.number}; {_RESTORE}")
        return signed

    def _stored_end(self, number: int, signed: SignedStatement) -> SignedEpochEnd | None:
        data = self.end_bytes(number)
        if data is None:
            return None
        try:
            end = decode_epoch_end(data)
            verify_by_epoch_key(end, signed.statement, signed.epoch_id)
        except (DecodeError, SignatureError) as error:
            raise BrokerError(f"{self._path(number, 'end.cose')}: {error}; {_RESTORE}, or remove it") from None
        return end

    def _same_boot(self, number: int) -> bool:
        try:
            return self._path(number, "boot").read_text("utf-8").strip() == self._boot_id
        except FileNotFoundError:
            return False

    def _path(self, number: int, suffix: str) -> Path:
        return self._epochs / f"{number:010}.{suffix}"


def _numbers(folder: Path, name: re.Pattern[str]) -> list[int]:
    found = (name.fullmatch(path.name) for path in folder.iterdir())
    return [int(match[1]) for match in found if match]


def _verified(data: bytes, signed: SignedStatement) -> SignedMark | None:
    """The mark if it is the epoch's; the archive is untrusted, so anything else counts as nothing."""
    try:
        mark = decode_mark(data)
        verify_by_epoch_key(mark, signed.statement, signed.epoch_id)
    except (DecodeError, SignatureError):
        return None
    return mark


def _beyond(
    number: int, logged: Logged, stored: SignedEpochEnd | None, tail: Tail, archived: SignedMark | None
) -> Iterator[str]:
    """What is known of an epoch beyond the log's last sequence, and where from."""
    has = f"the log has epoch {number} up to mark {logged.last_sequence}"
    end = stored or tail.end
    if end:
        yield f"{has} and not its end, which names mark {end.end.last_sequence} as the last"
    if tail.last_mark and tail.last_mark.mark.sequence > logged.last_sequence:
        yield f"{has}; its spool has mark {tail.last_mark.mark.sequence} behind a hole or a record that does not hold"
    if archived and archived.mark.sequence > logged.last_sequence:
        yield f"{has}; the archive has marks up to {archived.mark.sequence}, which the spool lost"
