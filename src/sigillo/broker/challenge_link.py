"""How a challenge gets from the log's HTTP server to the attester, and its answer back: socket pairs, no names.

One for each attester: the supervisor hands the server its end through another (`Exchange`), so that an attester that
has ended is known at once. Server → attester: the nonce, and one end of a pair made for this challenge alone. Attester
→ that end: the answer's length (4 bytes) and the answer; nothing where there is none. So no answer can be taken for
another's, and one that comes too late reaches nobody.
"""

from __future__ import annotations

import socket
import threading
import time
from typing import Final

from sigillo.core.challenge import MAX_ANSWER
from sigillo.core.errors import SigilloError
from sigillo.core.quote import NONCE_SIZE

SEND_S: Final = 2.0
"""For the server to take an answer; the attester has other things to do."""
_LENGTH: Final = 4
_STEP: Final = 65_536
_TOKEN: Final = b"\0"


class Unanswered(SigilloError):
    """A challenge got no answer: no attester, none of the TPM, or not in time."""


class Exchange:
    """The supervisor's part: it brings server and attester together, and keeps out of what they say."""

    def __init__(self) -> None:
        self._server: socket.socket | None = None

    def new_server(self) -> socket.socket:
        """For a server that is about to start: where it gets its ends. The caller closes it once the server has it."""
        self.close()
        self._server, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._server.setblocking(False)  # `send_fds` passes no flags on
        return theirs

    def new_attester(self) -> socket.socket | None:
        """For an attester that is about to start: its end. The caller closes it once the attester has it."""
        if self._server is None:
            return None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            try:
                socket.send_fds(self._server, [_TOKEN], [ours.fileno()])
            except OSError:  # the server has ended; its end is judged elsewhere
                theirs.close()
                return None
        return theirs

    def close(self) -> None:
        """The server is gone, or there will be none."""
        if self._server is not None:
            self._server.close()
            self._server = None


class ServerSide:
    """The server's end. `ask` is for any number of threads: one challenge is with the attester at a time."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._attester: socket.socket | None = None
        self._guard, self._turn = threading.Lock(), threading.Lock()

    def follow(self) -> None:
        """Take the end of each new attester, until the supervisor is gone. For a thread of its own."""
        while True:
            message, descriptors, _, _ = socket.recv_fds(self._control, len(_TOKEN), 1)
            attester = socket.socket(fileno=descriptors[0]) if descriptors else None
            if attester:
                attester.setblocking(False)
            with self._guard:
                if self._attester is not None:
                    self._attester.close()
                self._attester = attester
            if not message:
                return

    def ask(self, nonce: bytes, patience_s: float) -> bytes:
        """The attester's answer to a nonce of 32 bytes. Raises Unanswered, within *patience_s*."""
        deadline = time.monotonic() + patience_s
        if not self._turn.acquire(timeout=patience_s):
            raise Unanswered("others were asking all the time")
        try:
            mine, theirs = socket.socketpair()
            with mine:
                with theirs:
                    self._send(nonce, theirs)
                return _receive(mine, deadline)
        except OSError as error:
            raise Unanswered(f"the attester cannot be asked: {error.strerror or error}") from None
        finally:
            self._turn.release()

    def _send(self, nonce: bytes, theirs: socket.socket) -> None:
        with self._guard:
            if self._attester is None:
                raise Unanswered("no attester runs")
            socket.send_fds(self._attester, [nonce], [theirs.fileno()])


class Challenge:
    """One challenge, with the attester: `nonce` is 32 bytes. Whoever has it answers or refuses it, once."""

    def __init__(self, nonce: bytes, end: socket.socket) -> None:
        self.nonce, self._end = nonce, end

    @property
    def is_awaited(self) -> bool:
        """Whether the server still waits for the answer."""
        try:
            return bool(self._end.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except BlockingIOError:
            return True  # nothing is ever sent this way
        except OSError:
            return False

    def answer(self, data: bytes) -> None:
        """Send the answer; a server that does not take it gets none."""
        with self._end:
            self._end.settimeout(SEND_S)
            try:
                self._end.sendall(len(data).to_bytes(_LENGTH, "big") + data)
            except OSError:
                return

    def refuse(self) -> None:
        """There is no answer."""
        self._end.close()


class AttesterSide:
    """The attester's end. `gone`: the server has ended."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._end.setblocking(False)
        self.gone = False

    def fileno(self) -> int:
        """For select."""
        return self._end.fileno()

    def next(self) -> Challenge | None:
        """The next challenge that somebody waits for, where there is one."""
        while True:
            try:
                nonce, descriptors, _, _ = socket.recv_fds(self._end, NONCE_SIZE + 1, 1)
            except BlockingIOError:
                return None
            except OSError:
                nonce, descriptors = b"", []
            if not nonce:
                self.gone = True
                return None
            if not descriptors:
                continue
            found = Challenge(nonce, socket.socket(fileno=descriptors[0]))
            if len(nonce) == NONCE_SIZE and found.is_awaited:
                return found
            found.refuse()

    def close(self) -> None:
        """Nobody is answered any more; who waits knows it at once."""
        self.gone = True
        self._end.close()


def _receive(end: socket.socket, deadline: float) -> bytes:
    """All that comes until the end, if that is an answer. Raises Unanswered, OSError."""
    received = bytearray()
    while True:
        end.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            part = end.recv(_STEP)
        except TimeoutError:
            raise Unanswered("the attester did not answer in time") from None
        if not part:
            break
        received += part
        if len(received) > _LENGTH + MAX_ANSWER:
            raise Unanswered("the attester's answer does not end")
    data = bytes(received[_LENGTH:])
    if not data or len(data) != int.from_bytes(received[:_LENGTH], "big"):
        raise Unanswered("the attester has no quote, or ended before it had one")
    return data
