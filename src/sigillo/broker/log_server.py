"""A thin HTTP server on loopback: the log as C2SP tlog-tiles asks, what runs here (`/build`), a fresh quote of its TPM.

Only names of the two formats are opened, below folders that were opened before the process gave its rights up: it needs
no right to `log/`, and as root it has none. Whoever speaks slowly, or not at all, is cut off; a proxy goes in front.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import threading
from dataclasses import dataclass
from http import HTTPStatus

from sigillo.broker.challenge_link import ServerSide
from sigillo.broker.challenge_server import ChallengeDesk
from sigillo.broker.error import BrokerError
from sigillo.broker.event import Event, EventName, Report
from sigillo.core.epoch import SignedStatement, decode_statement
from sigillo.core.errors import DecodeError
from sigillo.core.manifest import Role, decode_manifest, moment_text
from sigillo.core.tile import Tile
from sigillo.log.cosigned import COSIGNED
from sigillo.log.public import CHECKPOINT
from sigillo.web import Handler, Server

_MAX_FILE = 1024 * 1024
_STATEMENT = re.compile(r"\d{10}\.cose")
_TEXT, _OCTETS, _JSON = "text/plain; charset=utf-8", "application/octet-stream", "application/json"
_NOTES = (CHECKPOINT, COSIGNED)
_SHORT, _FOR_EVER = "no-cache", "public, max-age=31536000, immutable"
_INDEX = """\
The log of a certified MQTT broker (Sigillo). Everything here is public, and proves itself or nothing.

/checkpoint                    the newest signed checkpoint (C2SP tlog-checkpoint)
/cosigned                      the newest one that witnesses have cosigned (C2SP tlog-cosignature), if any
/tile/<L>/<N>[.p/<W>]          Merkle tree hashes (C2SP tlog-tiles)
/tile/entries/<N>[.p/<W>]      log entries, 45 bytes each
/build                         what the newest epoch states to run, as JSON
/manifest                      the build manifest that it names
/attestation?nonce=<64 hex>    a fresh quote of its TPM over your nonce, if it has one, as JSON
"""


@dataclass(frozen=True, slots=True)
class Folders:
    """Descriptors of `log/public`, `epochs` and `published/manifests`."""

    public: int
    epochs: int
    manifests: int


def serve_log(folders: Folders, address: str, challenges: socket.socket | None, report: Report) -> None:
    """Serve until SIGTERM. Reports `serving`. Raises BrokerError where nothing can listen on *address*.

    *challenges*: where the ends towards attesters come from; None where there is no TPM.
    """
    stop, stopper = socket.socketpair()
    stopper.setblocking(False)
    signal.set_wakeup_fd(stopper.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGTERM, lambda _number, _frame: None)
    link = ServerSide(challenges) if challenges else None
    if link:
        threading.Thread(target=link.follow, daemon=True).start()
    with LogServer(address, folders, ChallengeDesk(link)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        report(Event(EventName.SERVING, {"url": server.url}))
        stop.recv(1)
        signal.set_wakeup_fd(-1)  # a signal that comes late must find no closed descriptor
        server.shutdown()


class LogServer(Server):
    """The server on one address."""

    def __init__(self, address: str, folders: Folders, desk: ChallengeDesk) -> None:
        """*address*: as the setting `http`. Raises BrokerError."""
        self.folders, self.desk = folders, desk
        try:
            super().__init__(address, LogHandler)
        except OSError as error:
            raise BrokerError(
                f"{address}: the log cannot be served there ({error.strerror}); choose another address with http in "
                'sigillo.toml, --http the first time, or "" to serve nothing'
            ) from None


class LogHandler(Handler):
    """GET and HEAD of what `_INDEX` names, 404 for the rest; `/attestation` is the desk's, whatever the method."""

    server: LogServer

    def do_GET(self) -> None:
        """Answer with the content."""
        self._answer(with_content=True)

    def do_HEAD(self) -> None:
        """The same, without it."""
        self._answer(with_content=False)

    def do_POST(self) -> None:
        """No path takes it; nor the other methods."""
        if self.server.desk.concerns(self.path):
            self._answer(with_content=True)
        else:
            self.send_error(HTTPStatus.NOT_IMPLEMENTED, f"Unsupported method ({self.command!r})")

    do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_POST

    def _answer(self, *, with_content: bool) -> None:
        if self.server.desk.concerns(self.path):
            made = self.server.desk.respond(self.command, self.path)
            headers = {"Content-Type": _JSON, "Cache-Control": "no-store", **made.headers}
            self.answer(made.status, made.content, headers, with_content=with_content)
            return
        found = self._find()
        status = HTTPStatus.OK if found else HTTPStatus.NOT_FOUND
        content, kind, cache = found or (b"not found\n", _TEXT, _SHORT)
        self.answer(status, content, {"Content-Type": kind, "Cache-Control": cache}, with_content=with_content)

    def _find(self) -> tuple[bytes, str, str] | None:
        """Content, type and caching of a path. A tile's path has one spelling: nothing else reaches the disk."""
        if self.path == "/":
            return _INDEX.encode(), _TEXT, _SHORT
        if self.path == "/build":
            return build(self.server.folders), _JSON, _SHORT
        if self.path == "/manifest":
            manifest = named_manifest(self.server.folders, newest_statement(self.server.folders))
            return (manifest, _JSON, _SHORT) if manifest else None
        name = self.path[1:]
        if name not in _NOTES:
            try:
                Tile.from_path(name)
            except DecodeError:
                return None
        content = _read(self.server.folders.public, name)
        if content is None:
            return None
        return (content, _TEXT, _SHORT) if name in _NOTES else (content, _OCTETS, _FOR_EVER)


def newest_statement(folders: Folders) -> SignedStatement | None:
    """What was stated last; None where nothing was."""
    names = sorted(name for name in os.listdir(folders.epochs) if _STATEMENT.fullmatch(name))
    data = _read(folders.epochs, names[-1]) if names else None
    return None if data is None else decode_statement(data)


def named_manifest(folders: Folders, signed: SignedStatement | None) -> bytes | None:
    """The build manifest that a statement names, as it was kept; None where it names none."""
    if signed is None or signed.statement.manifest_hash is None:
        return None
    return _read(folders.manifests, f"{signed.statement.manifest_hash.hex()}.json")


def build(folders: Folders) -> bytes:
    """JSON of what the newest stated epoch runs, and where it was built from; null where nothing is known."""
    facts: dict[str, object] = dict.fromkeys(_FACTS)
    signed = newest_statement(folders)
    if signed is not None:
        stated = signed.statement
        facts |= {
            "operator": stated.operator,
            "epoch": stated.number,
            "epoch_id": signed.epoch_id.hex(),
            "binary_hash": stated.executable_hash.hex(),
            "plugin_hash": stated.plugin_hash.hex(),
            "configuration_hash": stated.configuration_hash.hex(),
            "manifest_hash": stated.manifest_hash and stated.manifest_hash.hex(),
        }
    manifest = named_manifest(folders, signed)
    if manifest is not None:
        for role, prefix in ((Role.EXECUTABLE, ""), (Role.PLUGIN, "plugin_")):
            made = decode_manifest(manifest).manifest.part(role)
            if made:
                facts[f"{prefix}source_commit"] = made[0].source_commit
                facts[f"{prefix}build_date"] = moment_text(made[0].build_date)
    return (json.dumps(facts, indent=2, ensure_ascii=False) + "\n").encode()


_FACTS = (
    "operator",
    "epoch",
    "epoch_id",
    "binary_hash",
    "plugin_hash",
    "configuration_hash",
    "manifest_hash",
    "source_commit",
    "build_date",
    "plugin_source_commit",
    "plugin_build_date",
)


def _read(folder: int, name: str) -> bytes | None:
    """A file below an open folder, None where there is none."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        return file.read(_MAX_FILE)
