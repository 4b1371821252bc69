"""What launcher and log tell each other: a socket pair of packets, between two processes of the log key's owner.

Launcher → log: a question, 8 bytes. Log → launcher: 8 bytes, then a signed checkpoint that is durable. The bytes are
the question's where the checkpoint covers all that there was to log when it came, else zero: just the newest one. What
nobody reads is dropped: a newer one follows.
"""

from __future__ import annotations

import secrets
import select
import socket
import time
from collections.abc import Callable

from sigillo.broker.error import BrokerError
from sigillo.core.checkpoint import SignedCheckpoint, decode_checkpoint, encode_checkpoint
from sigillo.core.note import MAX_NOTE

_QUESTION = 8
_NEWS = bytes(_QUESTION)
_SAY_AFTER_S = 2.0
_GONE = "the log has ended; it says why"


class LogSide:
    """The log's end."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    def fileno(self) -> int:
        """For select."""
        return self._end.fileno()

    def asked(self) -> list[bytes]:
        """The questions that have come."""
        questions: list[bytes] = []
        while True:
            try:
                question = self._end.recv(_QUESTION, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return questions
            if not question:
                return questions
            questions.append(question)

    def answer(self, question: bytes, checkpoint: SignedCheckpoint) -> None:
        """All that there was when the question came is covered by this durable checkpoint."""
        try:
            self._end.send(question + encode_checkpoint(checkpoint), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except (BlockingIOError, BrokenPipeError):
            return  # nobody reads

    def tell(self, checkpoint: SignedCheckpoint) -> None:
        """A newer one."""
        self.answer(_NEWS, checkpoint)


class LauncherSide:
    """The launcher's end. `gone`: the log has ended."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._newest: SignedCheckpoint | None = None
        self.gone = False

    def fileno(self) -> int:
        """For select."""
        return self._end.fileno()

    def settled(self, patience_s: float, on_wait: Callable[[], None]) -> SignedCheckpoint:
        """The durable checkpoint over all that there is to log now; waits *patience_s* for any sign of progress.

        *on_wait* is called once where it takes long. Raises BrokerError.
        """
        self._read(_NEWS)  # so that there is room for the answer
        question = secrets.token_bytes(_QUESTION)
        try:
            self._end.send(question, socket.MSG_NOSIGNAL)
        except ConnectionError:
            raise BrokerError(_GONE) from None
        begun = heard = time.monotonic()
        said = False
        while time.monotonic() < heard + patience_s:
            if select.select([self], [], [], min(patience_s, _SAY_AFTER_S))[0]:
                answered = self._read(question)
                if self.gone:
                    raise BrokerError(_GONE)
                if answered and self._newest:
                    return self._newest
                heard = time.monotonic()
            if not said and time.monotonic() > begun + _SAY_AFTER_S:
                said = True
                on_wait()
        raise BrokerError(f"the log made no progress for {patience_s:.0f} s: see whether its disk is full or broken")

    def newest(self) -> SignedCheckpoint | None:
        """The newest durable checkpoint that has come."""
        self._read(_NEWS)
        return self._newest

    def _read(self, question: bytes) -> bool:
        """Take in what has come; whether the answer to *question* was among it."""
        answered = False
        while True:
            try:
                packet = self._end.recv(_QUESTION + MAX_NOTE, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return answered
            except ConnectionError:
                packet = b""
            if not packet:
                self.gone = True
                return answered
            self._newest = decode_checkpoint(packet[_QUESTION:])
            answered |= packet[:_QUESTION] == question
