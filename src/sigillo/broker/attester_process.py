"""The attester's process: quotes of one epoch into the log, until the last one when it is over. The launcher made one
before the broker listened. In between it answers challenges, one at a time, where no quote for the log is due.

What the TPM does is no reason to end a run, and marks never wait for it. A quote is durable in the log's incoming
folder before it is reported, and stays there until it is logged.
"""

from __future__ import annotations

import select
import signal
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from sigillo import disk
from sigillo.attestation.attester import Attester
from sigillo.attestation.error import TpmError
from sigillo.attestation.link import open_link
from sigillo.attestation.tpm import Tpm
from sigillo.broker.answering import Answering
from sigillo.broker.boot_record import BootRecord
from sigillo.broker.challenge_link import AttesterSide
from sigillo.broker.event import Event, EventName, Report, cut
from sigillo.broker.folder import OperatorFolder
from sigillo.broker.settings import Settings
from sigillo.core.attestation import AttestationEvidence, encode_attestation, verify_answer, verify_periodic
from sigillo.core.challenge import ConfigurationText
from sigillo.core.checkpoint import decode_checkpoint
from sigillo.core.entry import Kind
from sigillo.core.errors import AttestationError, DecodeError
from sigillo.core.event_log import replay
from sigillo.core.launch import decode_launch_log
from sigillo.core.mark import Checkpoint
from sigillo.core.quote import LAUNCH_PCR, Quote, Subject, check_follows
from sigillo.log.error import LogError
from sigillo.log.incoming import submit
from sigillo.log.public import CHECKPOINT, PublicLog

TIMEOUT_S = 5.0
"""For each command of the TPM."""
FIRST_PAUSE_S = 2.0
"""Before a quote that failed is tried again; doubled each time, up to the interval."""
LAST_PATIENCE_S = 5.0
"""For the log to take the epoch's end, which the last quote is to cover."""
TURN_S = 0.1


@dataclass(frozen=True, slots=True)
class QuotedEpoch:
    """The epoch that is quoted, and the TPM name of the attestation key that its statement names, 34 bytes."""

    number: int
    epoch_id: bytes
    key_name: bytes


@dataclass(frozen=True, slots=True)
class Challenges:
    """Where challenges come from, and the configuration that their answers show."""

    end: socket.socket
    configuration: tuple[ConfigurationText, ...]


def keep_quoting(
    folder: OperatorFolder,
    settings: Settings,
    epoch: QuotedEpoch,
    challenges: Challenges | None,
    report: Report,
) -> None:
    """Quote until SIGTERM, and then once more.

    Reports `quoted`, `tpm-down`, `tpm-back`, `challenge-unanswered`, `boot-unrecorded`.
    """
    stop, stopper = socket.socketpair()
    stopper.setblocking(False)
    signal.set_wakeup_fd(stopper.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGTERM, lambda _number, _frame: None)
    record = BootRecord(folder, settings, report)
    own = (folder, Path(settings.tpm), epoch, settings.quote_interval, report)
    Quoting(*own, record=record, challenges=challenges).run(stop)
    signal.set_wakeup_fd(-1)  # a signal that comes late must find no closed descriptor


class Quoting:
    """The quotes of one epoch."""

    def __init__(
        self,
        folder: OperatorFolder,
        tpm: Path,
        epoch: QuotedEpoch,
        interval_s: float,
        report: Report,
        *,
        record: BootRecord,
        challenges: Challenges | None = None,
    ) -> None:
        self._folder, self._tpm, self._epoch = folder, tpm, epoch
        self._interval_s, self._report, self._record = interval_s, report, record
        self._last: Quote | None = None
        self._failures = 0
        self._trouble: type[Exception] | None = None
        self._link = AttesterSide(challenges.end) if challenges else None
        self._answering = Answering(folder, epoch.number, challenges.configuration if challenges else ())
        self._unanswered: type[Exception] | None = None

    def run(self, stop: socket.socket) -> None:
        """Until *stop* can be read; then, unless the TPM is down, over a checkpoint that has the epoch's end."""
        due = time.monotonic()
        while not select.select([stop], [], [], 0)[0]:
            if time.monotonic() >= due:
                due = self.once() + time.monotonic()
            awaited: list[socket.socket | AttesterSide] = [stop]
            if self._link and not self._link.gone:
                awaited.append(self._link)
            ready = select.select(awaited, [], [], max(0.0, due - time.monotonic()))[0]
            if self._link in ready and stop not in ready:
                due = min(due, self.answer_next() + time.monotonic())
        if self._link:
            self._link.close()
        if self._trouble:
            return
        deadline = time.monotonic() + LAST_PATIENCE_S
        while not self._is_end_logged() and time.monotonic() < deadline:
            time.sleep(TURN_S)
        self.once()

    def once(self) -> float:
        """One quote into the log; seconds until the next. What fails is named once, and when it is over."""
        begun = time.monotonic()
        try:
            quote = self._quote()
            self._failures = 0
            self._record.keep(quote.clock.reset_count)
            self._check(quote)
        except (TpmError, AttestationError, DecodeError, LogError, OSError) as error:
            return self._failed(error)
        self._last = quote
        if self._trouble:
            self._trouble = None
            self._report(Event(EventName.TPM_BACK, {"tpm": str(self._tpm)}))
        return max(0.0, begun + self._interval_s - time.monotonic())

    def answer_next(self) -> float:
        """Answer the next challenge, if there is one, with a fresh quote or not at all; seconds until a quote for the
        log has to show whether the TPM is back."""
        challenge = self._link.next() if self._link else None
        if challenge is None:
            return self._interval_s
        try:
            newest_bytes, evidence = self._fresh(challenge.nonce)
            quote = verify_answer(evidence, self._epoch.key_name, challenge.nonce)
        except (TpmError, AttestationError, DecodeError, OSError) as error:
            self._say_down(error)
            challenge.refuse()
            return FIRST_PAUSE_S
        try:
            challenge.answer(self._answering.answer(evidence, newest_bytes))
            self._unanswered = None
        except (AttestationError, DecodeError, OSError) as error:
            self._say_unanswered(error)
            challenge.refuse()
        try:
            self._check(quote)  # whatever it says: it was given
        except (AttestationError, DecodeError, OSError) as error:
            self._say_down(error)
            return FIRST_PAUSE_S
        return self._interval_s

    def _quote(self) -> Quote:
        """A quote over the newest checkpoint, handed to the log whatever it says: what happened to a TPM shows in it.

        Raises TpmError, AttestationError, DecodeError, LogError, OSError.
        """
        _, evidence = self._fresh(None)
        quote = verify_periodic(evidence, self._epoch.key_name)
        submit(self._folder.log, Kind.ATTESTATION_EVIDENCE, encode_attestation(evidence))
        size = evidence.subject.checkpoint.size
        self._report(Event(EventName.QUOTED, {"epoch": self._epoch.number, "size": size}))
        return quote

    def _fresh(self, nonce: bytes | None) -> tuple[bytes, AttestationEvidence]:
        """The log's newest checkpoint, as it is signed, and a quote over it, for *nonce* where it answers a challenge.

        Raises TpmError, AttestationError, DecodeError, OSError.
        """
        newest_bytes, newest = self._newest()
        subject = Subject(self._epoch.epoch_id, newest, nonce)
        link = open_link(self._tpm, TIMEOUT_S)
        try:
            evidence = Attester.open(Tpm(link)).quote(subject)
        finally:
            link.close()
        if evidence.subject != subject:
            raise AttestationError("the quote is about something else than was asked for")
        return newest_bytes, evidence

    def _check(self, quote: Quote) -> None:
        """Whether the quote attests anything. Raises AttestationError, DecodeError, OSError."""
        if self._last:
            check_follows(self._last, quote)
        path = self._folder.launch_log
        if replay(decode_launch_log(path.read_bytes()).events)[LAUNCH_PCR] != quote.launch_pcr:
            raise AttestationError(
                f"PCR {LAUNCH_PCR} has not the value that {path} leads to: the TPM was reset, or somebody extended it"
            )

    def _failed(self, error: Exception) -> float:
        self._say_down(error)
        pause_s = min(self._interval_s, FIRST_PAUSE_S * 2 ** min(self._failures, 16))
        self._failures += 1
        return float(pause_s)

    def _say_down(self, error: Exception) -> None:
        """Once for one kind of trouble: a TPM that hangs gives many reasons in turn."""
        if type(error) is not self._trouble:
            self._trouble = type(error)
            self._report(Event(EventName.TPM_DOWN, {"tpm": str(self._tpm), "reason": cut(str(error))}))

    def _say_unanswered(self, error: Exception) -> None:
        """Once for one kind of trouble."""
        if type(error) is not self._unanswered:
            self._unanswered = type(error)
            self._report(Event(EventName.UNANSWERED, {"reason": cut(str(error))}))

    def _newest(self) -> tuple[bytes, Checkpoint]:
        """The log's newest checkpoint, durable, and its signed note. Raises OSError, DecodeError."""
        public = self._folder.log / "public"
        newest_bytes = (public / CHECKPOINT).read_bytes()
        signed = decode_checkpoint(newest_bytes)
        disk.sync_folder(public)  # it may have got its name a moment ago
        return newest_bytes, signed.head.checkpoint

    def _is_end_logged(self) -> bool:
        try:
            public = PublicLog(self._folder.log / "public")
            last = public.entry(public.size - 1)
            return public.find(Kind.EPOCH_END, self._epoch.number, last.sequence) is not None
        except LogError:  # a tile that was replaced meanwhile
            return False
