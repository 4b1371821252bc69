"""The anchors' process: has each time-stamp authority stamp the log's newest checkpoint, in nobody's way.

One thread for each authority, so that one that is slow or gone holds up no other; what they obtained is kept and
submitted to the log by the main thread alone. Marks never wait for any of it.
"""

from __future__ import annotations

import queue
import select
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sigillo import disk
from sigillo.broker.error import BrokerError
from sigillo.broker.event import Event, EventName, Report, Value, cut
from sigillo.broker.folder import OperatorFolder
from sigillo.broker.settings import Settings, TsaSetting
from sigillo.core.checkpoint import decode_checkpoint
from sigillo.core.errors import DecodeError
from sigillo.core.note import LogKey, Note, encode_note
from sigillo.core.timestamp import MAX_CERTIFICATES, decode_token
from sigillo.log.anchor import Anchor, AnchorStore
from sigillo.log.error import LogError
from sigillo.log.public import CHECKPOINT
from sigillo.log.timestamper import PATIENCE_S, TimestampError, TsaAddress, obtain, read_crl

FIRST_PAUSE_S = 2.0
"""Before a failed request is made again; doubled each time, up to the interval or LONGEST_PAUSE_S."""
LONGEST_PAUSE_S = 300.0
CRL_PATIENCE_S = 10.0
"""For all revocation lists of an authority."""
LAST_PATIENCE_S = 5.0
"""For the tokens over the last checkpoint, once the process is to end."""
TURN_S = 0.5

_News = Anchor | Event


def keep_anchors(folder: OperatorFolder, settings: Settings, report: Report) -> None:
    """Anchor the log until SIGTERM, its last checkpoint included. Reports `anchored`, `tsa-down` and others.

    Raises BrokerError, LogError, OSError.
    """
    stop, stopper = socket.socketpair()
    stopper.setblocking(False)
    stop.setblocking(False)
    signal.set_wakeup_fd(stopper.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGTERM, lambda _number, _frame: None)
    key = LogKey.from_vkey((folder.log / "log.vkey").read_text("utf-8").strip(), "log.vkey")
    addresses = [address_of(tsa) for tsa in settings.tsa]
    Anchoring(folder.log, key, addresses, settings.anchor_interval, report).run(stop)
    signal.set_wakeup_fd(-1)  # a signal that comes late must find no closed descriptor


def address_of(tsa: TsaSetting) -> TsaAddress:
    """With the certificates of its file: those that sign themselves are its roots. Raises BrokerError."""
    if not tsa.certificates:
        return TsaAddress(tsa.name, tsa.url, crls=tsa.crls)
    path = Path(tsa.certificates)
    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise BrokerError(f"{path}: {error.strerror}; it is the setting certificates of {tsa.name}") from None
    except ValueError as error:
        raise BrokerError(f"{path}: has no certificates in PEM ({error}), as {tsa.name} needs") from None
    roots = tuple(item.public_bytes(Encoding.DER) for item in found if item.subject == item.issuer)
    chain = tuple(item.public_bytes(Encoding.DER) for item in found if item.subject != item.issuer)
    if not roots or len(found) > MAX_CERTIFICATES:
        raise BrokerError(f"{path}: must have 1 to {MAX_CERTIFICATES} certificates, a root of {tsa.name} among them")
    return TsaAddress(tsa.name, tsa.url, roots, chain, tsa.crls)


class Anchoring:
    """The threads, and what the main thread does with what they bring."""

    def __init__(self, log: Path, key: LogKey, addresses: list[TsaAddress], interval_s: float, report: Report) -> None:
        """*log*: `DIR/log`. Raises LogError where what is kept there cannot be read."""
        self._report = report
        self._store = AnchorStore(log)
        self._news: queue.SimpleQueue[_News] = queue.SimpleQueue()
        self._waiting: deque[_News] = deque()
        self._stopping = threading.Event()
        self._trouble = ""
        self._stampers = [
            Stamper(address, lambda: newest_note(log, key), interval_s, self._news.put) for address in addresses
        ]

    def run(self, stop: socket.socket) -> None:
        """Until *stop* can be read."""
        threads = [threading.Thread(target=stamper.run, args=(self._stopping,)) for stamper in self._stampers]
        for thread in threads:
            thread.daemon = True
            thread.start()
        while not select.select([stop], [], [], 0)[0]:
            self._turn(TURN_S)
        self._stopping.set()
        deadline = time.monotonic() + LAST_PATIENCE_S
        while time.monotonic() < deadline and (self._unfinished or any(thread.is_alive() for thread in threads)):
            self._turn(TURN_S / 5)

    @property
    def _unfinished(self) -> bool:
        """Whether there is something to keep, or to see logged."""
        return bool(self._waiting) or not self._news.empty() or bool(self._store.pending)

    def _turn(self, patience_s: float) -> None:
        """Take what the threads bring, and name what has been logged. What fails is tried again in the next turn."""
        with suppress(queue.Empty):
            self._waiting.append(self._news.get(timeout=patience_s))
        try:
            self._store.resubmit()
            while self._waiting:
                self._take(self._waiting[0])
                self._waiting.popleft()
            for anchor in self._store.settle():
                fields: dict[str, Value] = {"tsa": anchor.tsa, "size": anchor.size, "index": anchor.index}
                fields["time_ns"] = decode_token(anchor.token).gen_time_ns
                self._report(Event(EventName.ANCHORED, fields))
            self._trouble = ""
        except (LogError, OSError) as error:  # a full disk, a tile that was replaced meanwhile: no reason to end a run
            if str(error) != self._trouble:
                self._trouble = str(error)
                self._report(Event(EventName.ANCHOR_DELAYED, {"reason": cut(self._trouble)}))

    def _take(self, news: _News) -> None:
        if isinstance(news, Event):
            self._report(news)
        else:
            self._store.add(news)


def newest_note(log: Path, key: LogKey) -> bytes | None:
    """The newest checkpoint, durable, as a note with the log's own signature line alone; None for an empty log.

    Raises OSError, DecodeError.
    """
    public = log / "public"
    signed = decode_checkpoint((public / CHECKPOINT).read_bytes())
    disk.sync_folder(public)  # it may have got its name a moment ago
    own = tuple(line for line in signed.note.signatures if line.key_id == key.note_key_id)
    return encode_note(Note(signed.note.text, own)) if signed.head.size else None


class Stamper:
    """What one thread does: a token of one authority over each newest note, an interval apart."""

    def __init__(
        self,
        address: TsaAddress,
        newest: Callable[[], bytes | None],
        interval_s: float,
        put: Callable[[_News], None],
    ) -> None:
        """*newest*: the note; *put*: where anchors and events go."""
        self._address, self._newest, self._interval_s, self._put = address, newest, interval_s, put
        self._stamped: bytes | None = None
        self._failures = 0
        self._unread: dict[str, str] = {}
        """Revocation lists that could not be read, and why."""

    def run(self, stopping: threading.Event) -> None:
        """Until *stopping*; then once more, unless the authority was down."""
        pause_s = 0.0
        while not stopping.wait(pause_s):
            pause_s = self._once(PATIENCE_S)
        if not self._failures:
            self._once(LAST_PATIENCE_S)

    def _once(self, patience_s: float) -> float:
        """Ask, if there is something new; seconds until the next time."""
        address, begun = self._address, time.monotonic()
        try:
            note_bytes = self._newest()
            if note_bytes is None or note_bytes == self._stamped:
                return min(TURN_S, self._interval_s)
            crls = self._crls(min(CRL_PATIENCE_S, patience_s / 2))
            token, _ = obtain(address, note_bytes, patience_s, crls)
        except (TimestampError, DecodeError, OSError) as error:
            return self._failed(str(error))
        self._put(Anchor(address.name, address.url, note_bytes, token, address.certificates, crls))
        if self._failures:
            self._put(Event(EventName.TSA_BACK, {"tsa": address.name}))
        self._stamped, self._failures = note_bytes, 0
        return max(0.0, begun + self._interval_s - time.monotonic())

    def _crls(self, patience_s: float) -> tuple[bytes, ...]:
        """The revocation lists, as they are now. One that cannot be read is named once, and keeps no token back."""
        deadline, found = time.monotonic() + patience_s, []
        for place in self._address.crls:
            try:
                found.append(read_crl(place, max(0.1, deadline - time.monotonic())))
                self._unread.pop(place, None)
            except TimestampError as error:
                if self._unread.get(place) != str(error):
                    fields: dict[str, Value] = {"tsa": self._address.name, "crl": place, "reason": cut(str(error))}
                    self._put(Event(EventName.CRL_MISSING, fields))
                self._unread[place] = str(error)
        return tuple(found)

    def _failed(self, reason: str) -> float:
        if not self._failures:
            fields: dict[str, Value] = {"tsa": self._address.name, "url": self._address.url, "reason": cut(reason)}
            self._put(Event(EventName.TSA_DOWN, fields))
        self._failures += 1
        longest_s = max(FIRST_PAUSE_S, min(self._interval_s, LONGEST_PAUSE_S))
        return float(min(longest_s, FIRST_PAUSE_S * 2 ** min(self._failures - 1, 16)))
