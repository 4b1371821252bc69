"""Anchors: time-stamp tokens over checkpoints of this log, each kept with its note (spec/log-storage.md, "Anchors").

Storage contract: an anchor is durable before its token is submitted (A1), and gets the name of its entry once that is
under the checkpoint (A3). So whatever dies, no logged token is without its note.
"""

from __future__ import annotations

import bisect
import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sigillo import disk
from sigillo.core.bytes import base64url_decode, base64url_encode
from sigillo.core.certificate import MAX_CERTIFICATE
from sigillo.core.checkpoint import decode_checkpoint
from sigillo.core.entry import Kind
from sigillo.core.errors import DecodeError
from sigillo.core.field import array, text
from sigillo.core.revocation import MAX_CRL, MAX_CRLS
from sigillo.core.submitted import submitted_hash
from sigillo.core.timestamp import MAX_CERTIFICATES, decode_token
from sigillo.log.error import LogError, naming
from sigillo.log.incoming import submit
from sigillo.log.public import PublicLog
from sigillo.log.record import SEGMENT_ENTRIES

FOLDER: Final = "anchors"
PENDING: Final = "pending"
MAX_FILE: Final = 512 * 1024

_VERSION: Final = 1
_REACH: Final = 1024
"""Tokens; more than others have made while one of them was away for an hour."""
_FIELDS: Final = ("version", "tsa", "url", "note", "token", "chain")
_CRLS: Final = "crls"
_SEGMENT: Final = re.compile(r"\d{10}")
_NAME: Final = re.compile(r"(\d{20})\.json")
_REMEDY: Final = "put the file back from your backup, or take it away: what it held is lost then"


@dataclass(frozen=True, slots=True)
class Anchor:
    """A token (DER) over the whole signed note *note_bytes*, with the log's own signature line alone.

    `tsa`, `url`: the authority, as the settings name it; `chain`: certificates (DER) that are not in the token.
    `crls`: revocation lists (DER) as they were at its time.
    """

    tsa: str
    url: str
    note_bytes: bytes
    token: bytes
    chain: tuple[bytes, ...] = ()
    crls: tuple[bytes, ...] = ()

    @property
    def object_hash(self) -> bytes:
        """Object hash of the token, 32 bytes. Raises DecodeError."""
        return submitted_hash(Kind.TOKEN, self.token)


@dataclass(frozen=True, slots=True)
class StoredAnchor:
    """An anchor that is logged. `index`: of its entry; `size`: of its note's checkpoint; the rest as in Anchor."""

    index: int
    size: int
    note_bytes: bytes
    token: bytes
    chain: tuple[bytes, ...]
    tsa: str = ""
    url: str = ""
    crls: tuple[bytes, ...] = ()


def encode_anchor(anchor: Anchor) -> bytes:
    """The file of an anchor."""
    values: dict[str, object] = {
        "version": _VERSION,
        "tsa": anchor.tsa,
        "url": anchor.url,
        "note": anchor.note_bytes.decode("utf-8"),
        "token": base64url_encode(anchor.token),
        "chain": [base64url_encode(certificate) for certificate in anchor.chain],
    }
    if anchor.crls:
        values[_CRLS] = [base64url_encode(crl) for crl in anchor.crls]
    return (json.dumps(values, ensure_ascii=False, separators=(",", ":")) + "\n").encode()


def decode_anchor(data: bytes) -> Anchor:
    """Raises DecodeError for a file that is not one, or whose token is over another note."""
    if len(data) > MAX_FILE:
        raise DecodeError("anchor", f"is larger than {MAX_FILE} bytes")
    try:
        values: Any = json.loads(data)
    except (ValueError, RecursionError):
        raise DecodeError("anchor", "is not JSON") from None
    fields = tuple(values) if isinstance(values, dict) else ()
    if fields not in (_FIELDS, (*_FIELDS, _CRLS)) or values["version"] != _VERSION:
        wanted = f"the fields {', '.join(_FIELDS)}, and maybe {_CRLS}"
        raise DecodeError("anchor", f"does not have {wanted}, in this order, of version 1")
    chain = _binaries(values["chain"], "chain", MAX_CERTIFICATES, MAX_CERTIFICATE)
    crls = _binaries(values.get(_CRLS, []), _CRLS, MAX_CRLS, MAX_CRL)
    note_bytes = text(values["note"], "note").encode()
    token = base64url_decode(text(values["token"], "token", high=MAX_FILE), "token")
    anchor = Anchor(text(values["tsa"], "tsa"), text(values["url"], "url"), note_bytes, token, chain, crls)
    if encode_anchor(anchor) != data:
        raise DecodeError("anchor", "is not written as it has to be")
    check_anchor(anchor)
    return anchor


def _binaries(values: object, field: str, most: int, largest: int) -> tuple[bytes, ...]:
    found = tuple(base64url_decode(text(item, field), field) for item in array(values, field))
    if len(found) > most or any(len(item) > largest for item in found):
        raise DecodeError(field, f"has more than {most} values, or one of more than {largest} bytes")
    return found


def check_anchor(anchor: Anchor) -> int:
    """Size of the checkpoint that it is about. Raises DecodeError where token or note is none, or they differ."""
    signed = decode_checkpoint(anchor.note_bytes)
    if len(signed.note.signatures) != 1:
        raise DecodeError("note", "has not one signature line, the log's own")
    if decode_token(anchor.token).imprint != hashlib.sha256(anchor.note_bytes).digest():
        raise DecodeError("token", "is about something else than the note beside it")
    return signed.head.size


class AnchorStore:
    """The folder `DIR/log/anchors`, for the one process that writes it."""

    def __init__(self, log_folder: Path) -> None:
        """Made where it is not there. Raises LogError."""
        self._log, self._folder = log_folder, log_folder / FOLDER
        with naming(self._folder, "give the log a folder that it may write"):
            for folder in (self._folder, self._folder / PENDING):
                if not folder.is_dir():
                    folder.mkdir(mode=0o700)
                    disk.sync_folder(folder.parent)
            disk.sweep(self._folder / PENDING, "")
        self._pending = {path.stem: read_anchor(path) for path in (self._folder / PENDING).glob("*.json")}
        self._looked: dict[str, int] = {}
        self._unsubmitted = set(self._pending)  # a crash may have come between A1 and A2

    @property
    def pending(self) -> list[Anchor]:
        """What was obtained and is not seen in the log yet."""
        return list(self._pending.values())

    def add(self, anchor: Anchor) -> None:
        """Keep an anchor, then submit its token to the log. Durable once this returns. Raises DecodeError, LogError."""
        check_anchor(anchor)
        name = anchor.object_hash.hex()
        with naming(self._folder, "see to the disk"):
            disk.replace(self._pending_path(name), encode_anchor(anchor), disk.PRIVATE)  # A1
        self._pending[name] = anchor
        self._unsubmitted.add(name)
        self.resubmit()

    def resubmit(self) -> None:
        """A2 for what is kept and was not submitted by this process yet. Raises LogError."""
        for name in sorted(self._unsubmitted):
            submit(self._log, Kind.TOKEN, self._pending[name].token)  # A2
            self._unsubmitted.remove(name)

    def settle(self) -> list[StoredAnchor]:
        """Name the anchors after their entries that are under the checkpoint by now (A3). Raises LogError."""
        settled: list[StoredAnchor] = []
        if not self._pending:
            return settled
        public = PublicLog(self._log / "public")
        begins = {name: self._looked.get(name, check_anchor(anchor)) for name, anchor in self._pending.items()}
        for index, entry in _tokens(public, min(begins.values())):
            name = entry.hex()
            if name in self._pending and index >= begins[name]:
                settled.append(self._name(name, index))
        self._looked = dict.fromkeys(self._pending, public.size)
        return settled

    def _name(self, name: str, index: int) -> StoredAnchor:
        anchor = self._pending[name]
        folder = self._folder / f"{index // SEGMENT_ENTRIES:010}"
        with naming(folder, "see to the disk"):
            if not folder.is_dir():
                folder.mkdir(mode=0o700)
                disk.sync_folder(self._folder)
            os.replace(self._pending_path(name), folder / f"{index:020}.json")  # A3
            disk.sync_folder(folder)
            disk.sync_folder(self._folder / PENDING)
        del self._pending[name]
        return _stored(index, anchor)

    def _pending_path(self, name: str) -> Path:
        return self._folder / PENDING / f"{name}.json"


class AnchorReader:
    """The anchors that are logged, for whoever makes evidence. Each call sees the folder as it is then."""

    def __init__(self, log_folder: Path) -> None:
        """*log_folder*: `DIR/log`; no anchors where it has no folder of them."""
        self._folder = log_folder / FOLDER

    def anchors(self, begin: int = 0) -> Iterator[StoredAnchor]:
        """Ascending by index, from *begin* on. Raises LogError."""
        for segment in self._segments():
            if segment >= begin // SEGMENT_ENTRIES:
                for index in self._indexes(segment):
                    if index >= begin:
                        yield self._anchor(index)

    def reach(self, size: int) -> int:
        """From which index on to read, to meet the newest token below *size* of each authority: some tokens before."""
        left = _REACH
        for segment in reversed(self._segments()):
            indexes = [index for index in self._indexes(segment) if index < size]
            if len(indexes) >= left:
                return indexes[-left]
            left -= len(indexes)
        return 0

    def indexes(self) -> Iterator[int]:
        """Of all, ascending, by the names of their files."""
        for segment in self._segments():
            yield from self._indexes(segment)

    def path(self, index: int) -> Path:
        """File of the anchor whose token is entry *index*."""
        return self._folder / f"{index // SEGMENT_ENTRIES:010}" / f"{index:020}.json"

    def newest_before(self, index: int) -> StoredAnchor | None:
        """The newest whose entry is below *index*: what an entry there came after. Raises LogError."""
        for segment in reversed(self._segments()):
            if segment <= index // SEGMENT_ENTRIES:
                indexes = self._indexes(segment)
                found = bisect.bisect_left(indexes, index)
                if found:
                    return self._anchor(indexes[found - 1])
        return None

    def first_over(self, size: int) -> StoredAnchor | None:
        """The first whose checkpoint covers entry *size*: what this entry existed before. Raises LogError."""
        return next((anchor for anchor in self.anchors(size + 1) if anchor.size > size), None)

    def _segments(self) -> list[int]:
        if not self._folder.is_dir():
            return []
        return sorted(int(path.name) for path in self._folder.iterdir() if _SEGMENT.fullmatch(path.name))

    def _indexes(self, segment: int) -> list[int]:
        folder = self._folder / f"{segment:010}"
        return sorted(int(match[1]) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name)))

    def _anchor(self, index: int) -> StoredAnchor:
        return _stored(index, read_anchor(self.path(index)))


def _tokens(public: PublicLog, begin: int) -> Iterator[tuple[int, bytes]]:
    """Index and object hash of the token entries from *begin* on."""
    for index, entry in enumerate(public.entry_bytes(min(begin, public.size), public.size), begin):
        if entry[0] == Kind.TOKEN:
            yield index, entry[13:]


def _stored(index: int, anchor: Anchor) -> StoredAnchor:
    size = check_anchor(anchor)
    named = anchor.tsa, anchor.url
    return StoredAnchor(index, size, anchor.note_bytes, anchor.token, anchor.chain, *named, anchor.crls)


def read_anchor(path: Path) -> Anchor:
    """The anchor in a file. Raises LogError."""
    with naming(path, _REMEDY), path.open("rb") as file:
        data = file.read(MAX_FILE + 1)
    try:
        return decode_anchor(data)
    except DecodeError as error:
        raise LogError(f"{path}: {error}; {_REMEDY}") from None
