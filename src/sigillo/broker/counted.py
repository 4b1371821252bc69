"""A log that a TPM counts: raised at each epoch, each hour and at the end, recorded first (spec/sealing.md, "Counter").

Durability: a record is on disk before the TPM counts what it says. So the TPM is at most one behind the record, which a
crash leaves, and never before it, which a folder of the past shows.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from sigillo import disk
from sigillo.attestation.counter import NvCounter
from sigillo.attestation.error import TpmError
from sigillo.broker.error import BrokerError
from sigillo.broker.log_key import SigningLogKey
from sigillo.core.counter import (
    UNKNOWN,
    CounterError,
    CounterRecord,
    Step,
    encode_counter_record,
    judge,
    verify_counter_record,
)
from sigillo.core.errors import DecodeError, MerkleError, SignatureError
from sigillo.core.mark import Checkpoint
from sigillo.core.note import LogKey
from sigillo.log.error import RESTORED, LogError
from sigillo.log.history import RootAt

FILE: Final = "counter"
INTERVAL_S: Final = 3600.0
AGAIN_S: Final = 60.0
"""After the TPM has failed."""
_OLD: Final = (
    "Put the newest folder back. Where that is lost, keep this one as evidence, and begin a new log with another "
    "--name: one that was restored never signs under its old name"
)


class Counter(Protocol):
    """What counts. Every method raises TpmError."""

    index: int

    def read(self) -> int | None:
        """Where it is; 0 where it was never raised, None where there is none."""
        ...

    def make(self) -> None:
        """Make it; it is then 0."""
        ...

    def increment(self) -> None:
        """Raise it by one."""
        ...


def counted_log(log: Path, key: SigningLogKey, tpm: str) -> CountedLog | None:
    """What counts the log in *log* (`DIR/log`); *tpm*: path of the TPM, "" where there is none.

    Raises BrokerError where it was counted before and is to be counted no more.
    """
    if tpm:
        return CountedLog(log, key, NvCounter(Path(tpm), key.public.key_id32))
    path = log / FILE
    if path.exists():
        raise BrokerError(
            f"{path}: a TPM counts this log, and sigillo.toml names none; set tpm there, or, to go on without, remove "
            "the file"
        )
    return None


def read_record(log: Path, key: LogKey) -> CounterRecord | None:
    """The record of the log in *log* (`DIR/log`); None where there is none. Raises LogError, OSError."""
    path = log / FILE
    try:
        return verify_counter_record(path.read_bytes(), key)
    except FileNotFoundError:
        return None
    except (DecodeError, SignatureError) as error:
        raise LogError(f"{path}: {error}; {RESTORED}") from None


class CountedLog:
    """The record in the folder of a log, and the TPM's counter; used by the one process that writes there."""

    def __init__(
        self, log: Path, key: SigningLogKey, counter: Counter, now: Callable[[], float] = time.monotonic
    ) -> None:
        """*now*: monotonic seconds."""
        self._path, self._key, self._counter, self._now = log / FILE, key, counter, now
        self._record: CounterRecord | None = None
        self._epoch: int | None = None
        self._due = 0.0
        self._in_trouble = False
        self._findings: list[str] = []

    def check(self, newest: Checkpoint, root_at: RootAt) -> None:
        """W1, before the first signature of a start: this is the newest state that the TPM knows of. Ends what a crash
        has cut off.

        *newest*: the log's, durable. Raises LogError that names both, where this is an old copy or another TPM;
        TpmError, OSError.
        """
        self._record = read_record(self._path.parent, self._key.public)
        step = self._judge()
        if self._record is not None:
            self._check_prefix(self._record.checkpoint, root_at)
        if step is Step.MAKE:
            self._write(UNKNOWN, newest)
            self._counter.make()
        if step is not Step.NOTHING:
            self._counter.increment()
        assert self._record is not None  # else there was one to make
        if self._record.value == UNKNOWN:
            self._raise(newest)

    def turn(self, epoch: int, newest: Checkpoint, *, ending: bool = False) -> None:
        """After each round: raise where the *epoch* is another than the last time; also where an hour has passed or it
        is *ending*, and anything was logged since.

        Raises LogError where somebody else raised the counter; TpmError where it cannot be raised for an epoch (else
        that is a finding); OSError.
        """
        begins = self._epoch is not None and epoch != self._epoch
        if self._epoch is None:
            self._due = self._now() + INTERVAL_S
        self._epoch = epoch
        logged = self._record is None or newest != self._record.checkpoint
        if not (begins or (logged and (ending or self._now() >= self._due))):
            return
        try:
            self._raise(newest)
        except TpmError as error:
            if begins:
                raise
            if not self._in_trouble:
                self._findings.append(f"the TPM's counter could not be raised, which is tried again: {error}")
            self._in_trouble, self._due = True, self._now() + AGAIN_S
        else:
            self._in_trouble, self._due = False, self._now() + INTERVAL_S

    def findings(self) -> list[str]:
        """What went wrong, for the operator; each is given once."""
        found, self._findings = self._findings, []
        return found

    def _raise(self, newest: Checkpoint) -> None:
        """Record, then raise; what was recorded before is done first."""
        if self._judge() is Step.RAISE:
            self._counter.increment()
        found = self._counter.read()
        assert found is not None  # judged just now
        self._write(found + 1, newest)
        self._counter.increment()

    def _judge(self) -> Step:
        try:
            return judge(self._record, self._counter.read())
        except CounterError as error:
            index = f"{self._counter.index:#010x}"
            replaced = (
                "If the TPM was replaced or cleared, and this is the newest folder: remove the file and, where the TPM "
                f"has it, the counter (tpm2_nvundefine -C o {index}); the log is counted anew then"
            )
            remedy = replaced if error.replaced else _OLD
            raise LogError(f"{self._path}: {error} (NV index {index}). {remedy}") from None

    def _check_prefix(self, recorded: Checkpoint, root_at: RootAt) -> None:
        try:
            root = root_at(recorded.size)
        except MerkleError:  # longer than all that is there
            root = b""
        if root != recorded.root:
            raise LogError(
                f"{self._path}: the log had {recorded.size} entries when it was counted, and has not these now; "
                f"{RESTORED}"
            )

    def _write(self, value: int, newest: Checkpoint) -> None:
        record = CounterRecord(value, newest)
        disk.replace(self._path, encode_counter_record(record, self._key.public, self._key.sign), disk.PRIVATE)
        self._record = record
