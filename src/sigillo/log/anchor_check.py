"""fsck of the anchors (8): each logged token has its note, which is a checkpoint of this log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from sigillo.core.checkpoint import decode_checkpoint, verify_checkpoint
from sigillo.core.errors import SigilloError
from sigillo.core.note import LogKey
from sigillo.log.anchor import FOLDER, PENDING, Anchor, AnchorReader, read_anchor
from sigillo.log.error import Refusal


def check_anchors(
    log: Path,
    key: LogKey,
    *,
    size: int,
    tokens: Mapping[int, bytes],
    root_at: Callable[[int], bytes],
    fault: Callable[[str, str], SigilloError],
) -> None:
    """Check `log/anchors`, if it is there, against the log. It may hold more than the checkpoint covers, and grow.

    Args:
        log: `DIR/log`.
        key: the log key.
        size: of the log.
        tokens: object hashes of the token entries, by index.
        root_at: root of the log at a size.
        fault: makes the error of a file and a reason.
    """
    folder = log / FOLDER
    if not folder.is_dir():  # no authority was ever asked
        return
    reader = AnchorReader(log)
    pending = {path.stem for path in (folder / PENDING).glob("*.json")}  # first: what is there may be named meanwhile
    named = {index: reader.path(index) for index in reader.indexes() if index < size}
    for index, path in named.items():
        try:
            anchor = read_anchor(path)
            if tokens.get(index) != anchor.object_hash:
                raise Refusal("its token is not that of the entry whose number it has")
            _check_note(anchor, key, index, root_at)
        except SigilloError as error:
            raise fault(str(path), str(error)) from None
    for index, hashed in tokens.items():
        if index not in named and hashed.hex() not in pending:
            raise fault(str(reader.path(index)), f"entry {index} is a token whose note is not kept")


def _check_note(anchor: Anchor, key: LogKey, index: int, root_at: Callable[[int], bytes]) -> None:
    """Raises Refusal, SignatureError where the note is not of this log, or longer than what precedes the token."""
    head = verify_checkpoint(decode_checkpoint(anchor.note_bytes), key)
    if head.size > index:
        raise Refusal(f"its note is of {head.size} entries, and its token is entry {index}")
    if root_at(head.size) != head.root:
        raise Refusal(f"its note is of a tree of {head.size} entries that is not this log's")
