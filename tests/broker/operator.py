"""An operator folder for tests: installed for this user alone, with epochs and spools that a test writes."""

from __future__ import annotations

from pathlib import Path

from sigillo.broker.account import Account, Accounts, own_account
from sigillo.broker.folder import OperatorFolder
from sigillo.broker.installation import install
from sigillo.broker.settings import Settings
from sigillo.core.entry import Kind
from sigillo.core.epoch import decode_statement
from sigillo.core.evidence_line import MessageLine
from sigillo.core.mark import decode_mark
from sigillo.core.spool import SegmentHeader, encode_header, encode_record

from ..adversary.broker import Broker

SETTINGS = Settings("localhost", "Example Broker", on_bad_clock="mark-unsynchronised")
SEGMENT = 64 * 1024


def one_user() -> Accounts:
    own: Account = own_account()
    return Accounts(own, own, "a test")


def installed(path: Path, settings: Settings = SETTINGS) -> OperatorFolder:
    folder = OperatorFolder.at(path / "operator")
    folder.path.mkdir()
    install(folder, settings, one_user())
    folder.plugin.write_bytes(b"plugin")
    return folder


def segment(
    broker: Broker, marks: list[MessageLine], *, number: int = 0, end: bytes | None = None, size: int = SEGMENT
) -> bytes:
    """A segment of the running epoch with these marks; the first has the statement too."""
    epoch = broker.epoch
    assert epoch is not None
    data = encode_header(SegmentHeader(epoch.number, number, epoch.epoch_id, size))
    if number == 0:
        data += encode_record(Kind.EPOCH_STATEMENT, 0, epoch.countersigned)
    for line in marks:
        data += encode_record(Kind.MARK, decode_mark(line.mark).mark.sequence, line.mark)
    if end is not None:
        data += encode_record(Kind.EPOCH_END, epoch.sequence, end)
    return data.ljust(size, b"\0")


def keep(folder: OperatorFolder, broker: Broker, *segments: bytes, boot_id: str = "boot") -> Path:
    """Store the running epoch's statement, and its spool of these segments; returns the spool's folder."""
    epoch = broker.epoch
    assert epoch is not None
    name = f"{epoch.number:010}"
    (folder.epochs / f"{name}.cose").write_bytes(epoch.countersigned)
    (folder.epochs / f"{name}.boot").write_text(f"{boot_id}\n")
    spool = folder.spool / name
    spool.mkdir()
    for at, data in enumerate(segments):
        (spool / f"{at:06}.spool").write_bytes(data)
    assert decode_statement(epoch.countersigned).epoch_id == epoch.epoch_id
    return spool
