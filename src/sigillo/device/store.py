"""The device's sequence: 64 bits, no number used twice for different content, none skipped, whatever crashes.

A number that is merely counted up before the message leaves would be skipped by a crash in between, and a skipped
number looks like a loss. So the signed message itself is what is stored:

1. `outbox/<number>.json` (number, topic, signed payload) is made durable. This is the commit: from here on the number
   belongs to these bytes, and only these bytes.
2. `sequence` (the last number in use) is made durable.
3. The message may leave, any number of times, always as the same bytes.
4. Once it is settled (acknowledged; at QoS 0 written to the socket; a file written out), its outbox file is removed.

A crash before 1 has used no number; between 1 and 2 the next `open` finds number `sequence` + 1 in the outbox and
catches up; after 2 the next run sends the outbox again, oldest first. A message can so arrive twice, never differently:
the broker marks the repeat, and a verifier takes the earlier mark. Step 4 is not flushed: undone by a power cut, it is
one more repeat.

An exclusive `flock` on `lock` keeps a second process out. What no file can stop is a *copy* of the folder, or one put
back from a backup: two devices with one key. The verifier sees the doubled numbers.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from sigillo import disk
from sigillo.core.bytes import base64url_decode, base64url_encode
from sigillo.core.errors import DecodeError
from sigillo.device.error import DeviceError

MAX_SEQUENCE = 2**64 - 1


@dataclass(frozen=True)
class Outgoing:
    """A signed message with its number (1…2⁶⁴-1), until it is settled."""

    sequence: int
    topic: str
    payload: bytes


class Outbox:
    """Sequence and outbox of one device folder; a context manager that holds the folder's lock."""

    def __init__(self, folder: Path, wait_s: float = 0.0) -> None:
        """Lock the folder, waiting at most *wait_s* seconds for another process, and recover from a crash.

        Raises DeviceError where the folder is in use, or its files contradict each other.
        """
        self._folder = folder
        self._messages = folder / "outbox"
        self._failed = False
        self._lock = _lock(folder, wait_s)
        try:
            self._pending = self._stored()
            self._sequence = self._recovered()
        except OSError as error:
            self.close()
            raise DeviceError(f"{folder}: {error}") from None
        except DeviceError:
            self.close()
            raise

    @property
    def sequence(self) -> int:
        """The last number in use; 0: none yet."""
        return self._sequence

    @property
    def pending(self) -> list[Outgoing]:
        """Messages that are signed and not settled, oldest first."""
        return [self._pending[number] for number in sorted(self._pending)]

    def issue(self, topic: str, sign: Callable[[int], bytes]) -> Outgoing:
        """Give the next number to the payload that *sign* makes for it; durable when this returns.

        Raises DeviceError where the disk fails (the outbox then issues no more: what is on disk is unknown until it
        is opened again) or the numbers are used up, and whatever *sign* raises, which uses no number.
        """
        if self._failed:
            raise DeviceError(f"{self._folder}: a write failed before; start again once the disk is well")
        if self._sequence == MAX_SEQUENCE:
            raise DeviceError(f"{self._folder / 'sequence'}: all 2^64 - 1 numbers are used; make a new device")
        number = self._sequence + 1
        message = Outgoing(number, topic, sign(number))
        try:
            disk.replace(self._file(number), _encode(message), disk.PRIVATE)
            self._write_sequence(number)
        except OSError as error:
            self._failed = True
            raise DeviceError(
                f"{self._folder}: cannot store message {number} ({error.strerror}); it was not sent"
            ) from None
        self._pending[number] = message
        self._sequence = number
        return message

    def settle(self, sequence: int) -> None:
        """Forget a message that has arrived; a number that is not pending is ignored. Raises DeviceError."""
        if self._pending.pop(sequence, None) is not None:
            try:
                self._file(sequence).unlink(missing_ok=True)
            except OSError as error:
                raise DeviceError(f"{self._file(sequence)}: cannot be removed ({error.strerror})") from None

    def close(self) -> None:
        """Release the lock."""
        os.close(self._lock)

    def __enter__(self) -> Outbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _stored(self) -> dict[int, Outgoing]:
        self._messages.mkdir(mode=0o700, exist_ok=True)
        disk.sweep(self._messages, "")
        messages = [_read(path) for path in sorted(self._messages.glob("*.json"))]
        return {message.sequence: message for message in messages}

    def _recovered(self) -> int:
        disk.sweep(self._folder, "sequence")
        sequence, newest = _read_sequence(self._folder / "sequence"), max(self._pending, default=0)
        if newest > sequence + 1:
            raise DeviceError(
                f"{self._folder / 'sequence'}: says {sequence}, but {self._file(newest).name} was signed later; "
                f"this folder was put together from two states. If no newer copy exists, write {newest} into it."
            )
        if newest == sequence + 1:
            self._write_sequence(newest)
        return max(sequence, newest)

    def _write_sequence(self, number: int) -> None:
        disk.replace(self._folder / "sequence", b"%d\n" % number, disk.PRIVATE)

    def _file(self, number: int) -> Path:
        return self._messages / f"{number:020d}.json"


def _lock(folder: Path, wait_s: float) -> int:
    try:
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, disk.PRIVATE)
    except OSError as error:
        raise DeviceError(f"{folder / 'lock'}: cannot be opened ({error.strerror})") from None
    try:
        disk.lock(descriptor, wait_s)
    except OSError:
        os.close(descriptor)
        raise DeviceError(
            f"{folder}: another process uses this device (a running `simulate`?); stop it or wait for it"
        ) from None
    return descriptor


def _read_sequence(path: Path) -> int:
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        raise DeviceError(
            f"{path}: not found. A device that starts again at 1 uses numbers twice: restore the file, or make a new "
            "device."
        ) from None
    digits = text.removesuffix(b"\n")
    if not digits.isdigit() or len(digits) > 20 or b"%d\n" % int(digits) != text or int(digits) > MAX_SEQUENCE:
        raise DeviceError(f"{path}: must hold the last number in use, 0 to 2^64 - 1, in decimal and nothing else")
    return int(digits)


def _encode(message: Outgoing) -> bytes:
    fields = {"sequence": message.sequence, "topic": message.topic, "payload": base64url_encode(message.payload)}
    return json.dumps(fields, ensure_ascii=False).encode() + b"\n"


def _read(path: Path) -> Outgoing:
    try:
        fields = json.loads(path.read_bytes())
        message = Outgoing(fields["sequence"], fields["topic"], base64url_decode(fields["payload"]))
        whole = path.name == f"{message.sequence:020d}.json" and _encode(message) == path.read_bytes()
    except (ValueError, KeyError, TypeError, AttributeError, DecodeError):
        whole = False
    if not whole:
        raise DeviceError(
            f"{path}: is not a stored message. Its number may have been sent: restore it, or remove the file and "
            "accept that a verifier sees that number missing."
        )
    return message
