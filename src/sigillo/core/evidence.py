"""The evidence file: newline-delimited canonical JSON, plain or gzip (spec/evidence.md).

Reading is a stream of bounded parts: chunks of bytes (any size, from whoever does the I/O) → lines of at most
2 MiB (:mod:`sigillo.core.line`) → typed lines. Nothing here is trusted yet; :mod:`sigillo.core.verify` does that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from sigillo.core.checkpoint import SignedCheckpoint, TreeHead, decode_checkpoint, decode_tree_head
from sigillo.core.errors import DecodeError, MerkleError
from sigillo.core.evidence_codec import decode_line
from sigillo.core.evidence_line import (
    BootLine,
    CertificateLine,
    CheckpointLine,
    ClosureLine,
    ConfigurationLine,
    EndLine,
    EntryLine,
    EpochLine,
    Header,
    HeadLine,
    HeadsLine,
    ImaLine,
    LaunchLine,
    Line,
    ManifestLine,
    MessageLine,
    NumberedLine,
    RebuildLine,
    RegistrationLine,
    SharedLine,
    Skip,
    StopLine,
    TokenLine,
    Trailer,
    shared_order,
)
from sigillo.core.field import UINT32_MAX
from sigillo.core.merkle import decompose

MAX_CERTIFICATES = 16
"""Certificate lines of one device."""
MAX_MANIFESTS = 16
MAX_REBUILDS = 64
MAX_REGISTRATIONS = 8
MAX_CLOSURES = 64
MAX_CONFIGURATIONS = 256
MAX_LAUNCHES = 64
MAX_BOOTS = 8
MAX_IMAS = 8


def decode_lines(lines: Iterable[bytes]) -> Iterator[NumberedLine]:
    """Decode the lines of an evidence file (without LF), in order, one at a time.

    Checks what one can see without looking into the objects: canonical JSON, members and types, the header first, then
    the shared parts in their order, an epoch before the first message, at least one message, the trailer last with the
    right counts; of a log proof that its lines ascend and every skip has as many hashes as it takes.

    Raises:
        DecodeError: naming line and member.
    """
    read = _Read()
    for number, data in enumerate(lines, start=1):
        if isinstance(read.last, Trailer):
            raise DecodeError(f"line {number}", "stands after the trailer")
        line = decode_line(data, number)
        read.add(line, number)
        yield NumberedLine(number, line)
    if not isinstance(read.last, Trailer):
        raise DecodeError(f"line {read.lines + 1}", "the trailer is missing: the file is cut off")


@dataclass(frozen=True, slots=True)
class _Place:
    """Where shared parts of one kind stand: after which kinds, how many at most, and what to call them."""

    after: tuple[type[Header | SharedLine], ...]
    most: int
    name: str
    behind: str


_TO_CERTIFICATES = (Header, CertificateLine)
_TO_REBUILDS = (*_TO_CERTIFICATES, ManifestLine, RebuildLine)
_TO_CLOSURES = (*_TO_REBUILDS, RegistrationLine, ClosureLine)
_PLACES: Mapping[type[SharedLine], _Place] = {
    CertificateLine: _Place(_TO_CERTIFICATES, UINT32_MAX, "certificates", "header"),
    ManifestLine: _Place((*_TO_CERTIFICATES, ManifestLine), MAX_MANIFESTS, "manifests", "certificates"),
    RebuildLine: _Place((ManifestLine, RebuildLine), MAX_REBUILDS, "rebuild statements", "manifests"),
    RegistrationLine: _Place(
        (*_TO_REBUILDS, RegistrationLine), MAX_REGISTRATIONS, "registrations", "rebuild statements"
    ),
    ClosureLine: _Place(_TO_CLOSURES, MAX_CLOSURES, "closures", "registrations"),
    ConfigurationLine: _Place((ClosureLine, ConfigurationLine), MAX_CONFIGURATIONS, "configuration files", "closures"),
    LaunchLine: _Place((ClosureLine, ConfigurationLine, LaunchLine), MAX_LAUNCHES, "launch logs", "configuration"),
    BootLine: _Place((LaunchLine, BootLine), MAX_BOOTS, "boot logs", "launch logs"),
    ImaLine: _Place((BootLine, ImaLine), MAX_IMAS, "measurement lists", "boot logs"),
}


@dataclass(slots=True)
class _Read:
    """What was read so far, and that the next line may follow it."""

    last: Line | None = None
    lines: int = 0
    epochs: int = 0
    messages: int = 0
    certificates: int = 0
    alike: int = 0  # shared parts in a row that are of the same kind
    of_device: int = 0  # certificate lines in a row that are of the same device
    ended: bool = False  # the newest epoch has its end
    log: bool = False
    position: int = 0  # entries of the log passed so far
    stopped: int = 0  # size of the newest stop

    def add(self, line: Line, number: int) -> None:
        where = f"line {number}"
        if (self.last is None) != isinstance(line, Header):
            raise DecodeError(where, "the header must be the first line, and only there")
        if isinstance(line, Header):
            self.log = line.log
        elif isinstance(line, SharedLine):
            self._shared(line, where)
        elif isinstance(line, Trailer):
            self._trailer(line, where)
        elif isinstance(line, HeadLine):
            self._head(line, where)
        elif isinstance(line, StopLine):
            self._stop(line, where)
        elif isinstance(line, CheckpointLine):
            self._checkpoint(line, where)
        else:
            self._entry(line, where)
        self.last, self.lines = line, number

    def _shared(self, line: SharedLine, where: str) -> None:
        place, last = _PLACES[type(line)], self.last
        before = last if isinstance(last, SharedLine) and type(last) is type(line) else None
        if not isinstance(last, place.after) or (before and shared_order(before) >= shared_order(line)):
            what = "in order of device and bytes" if isinstance(line, CertificateLine) else "in order of their bytes"
            raise DecodeError(where, f"{place.name} stand after the {place.behind}, each once, {what}")
        self.alike = self.alike + 1 if before else 1
        if self.alike > place.most:
            raise DecodeError(where, f"is one more than {place.most} {place.name}")
        if isinstance(line, CertificateLine):
            self._certificate(line, where)

    def _certificate(self, line: CertificateLine, where: str) -> None:
        last = self.last
        self.of_device = self.of_device + 1 if isinstance(last, CertificateLine) and last.device == line.device else 1
        if self.of_device > MAX_CERTIFICATES:
            raise DecodeError(where, f"is one more than {MAX_CERTIFICATES} certificates of one device")
        self.certificates += 1

    def _entry(self, line: EntryLine, where: str) -> None:
        if isinstance(line, EpochLine):
            self.epochs, self.ended = self.epochs + 1, False
        elif isinstance(line, TokenLine):
            self._token(line, where)
        elif not self.epochs:
            article = "an" if line.kind in ("end", "attestation") else "a"
            raise DecodeError(where, f"{article} {line.kind} line stands before the first epoch")
        self.messages += isinstance(line, MessageLine)
        if isinstance(line, EndLine):
            if self.ended:
                raise DecodeError(where, "is the second end of its epoch")
            self.ended = True
        if (line.index is None) == self.log:
            must = "must be there, since the header says that there is a log" if self.log else "goes with a log"
            raise DecodeError(f"{where}, index", must)
        if line.index is not None:
            self._skip(line.index, line.skip, where)
            self.position += 1

    def _token(self, line: TokenLine, where: str) -> None:
        field = f"{where}, note"
        signed = decode_note_text(line.note, field)
        if len(signed.note.signatures) != 1:
            raise DecodeError(
                field, f"has {len(signed.note.signatures)} signature lines, and must have the log's alone"
            )
        if line.index is not None and signed.head.size > line.index:
            raise DecodeError(field, f"is of size {signed.head.size}, which was not there yet at entry {line.index}")

    def _checkpoint(self, line: CheckpointLine, where: str) -> None:
        field = f"{where}, note"
        head = decode_head_text(line.note, field)
        stop = self.last
        if not isinstance(stop, StopLine) or (stop.size, stop.root) != (head.size, head.root):
            raise DecodeError(field, "does not stand directly below the stop of its size and root")

    def _head(self, line: HeadLine, where: str) -> None:
        last = self.last
        if not isinstance(last, HeadsLine | HeadLine):
            raise DecodeError(where, "stands neither below heads nor below another head")
        if isinstance(last, HeadLine) and last.principal.encode() >= line.principal.encode():
            raise DecodeError(where, "heads of principals stand in order of their names, each once")

    def _stop(self, line: StopLine, where: str) -> None:
        if not self.log or line.size <= self.stopped:
            raise DecodeError(where, "is not a stop above the one before it, in a file with a log")
        self._skip(line.size, line.skip, where)
        self.stopped = line.size

    def _trailer(self, line: Trailer, where: str) -> None:
        for name in ("certificates", "epochs", "messages"):
            says, has = getattr(line, name), getattr(self, name)
            if says != has:
                raise DecodeError(f"{where}, {name}", f"says {says}, the file has {has}")
        if not self.messages:
            raise DecodeError(f"{where}, messages", "the file has no message")
        if (line.checkpoint is None) == self.log:
            must = "must be there, since the header says that there is a log" if self.log else "goes with a log"
            raise DecodeError(f"{where}, checkpoint", must)
        if line.checkpoint is not None:
            size = decode_note_text(line.checkpoint, f"{where}, checkpoint").head.size
            self._skip(size, line.skip, where)

    def _skip(self, to: int, skip: Skip, where: str) -> None:
        """From the entries passed so far to this one, which is *to* or, of a stop or trailer, ends before it."""
        if to < self.position:
            raise DecodeError(where, f"is at entry {to} of the log, which stands before entry {self.position}")
        try:
            cover = len(decompose(self.position, to))
        except MerkleError as error:
            raise DecodeError(where, error.reason) from error
        if len(skip) != cover:
            raise DecodeError(f"{where}, skip", f"has {len(skip)} hashes; it takes {cover} to entry {to} of the log")
        self.position = to


def decode_note_text(text: str, field: str) -> SignedCheckpoint:
    """The signed checkpoint of a trailer. Raises DecodeError at *field*."""
    try:
        return decode_checkpoint(text.encode("utf-8"))
    except DecodeError as error:
        raise DecodeError(field, str(error)) from error


def decode_head_text(text: str, field: str) -> TreeHead:
    """The tree head of a checkpoint line. Raises DecodeError at *field*."""
    try:
        return decode_tree_head(text)
    except DecodeError as error:
        raise DecodeError(field, str(error)) from error
