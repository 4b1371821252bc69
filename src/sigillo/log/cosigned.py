"""`log/public/cosigned`: the newest checkpoint that witnesses have cosigned (spec/witness.md, "The log's side")."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sigillo import disk
from sigillo.core.checkpoint import SignedCheckpoint, decode_checkpoint, encode_checkpoint, verify_checkpoint
from sigillo.core.cosignature import WitnessKey, verify_cosignature
from sigillo.core.errors import DecodeError, SignatureError
from sigillo.core.note import LogKey, Note, NoteSignature
from sigillo.log.error import LogError, naming

COSIGNED: Final = "cosigned"


def read_cosigned(log_folder: Path) -> SignedCheckpoint | None:
    """The newest cosigned checkpoint of the log in *log_folder* (`DIR/log`), not verified; None where there is none.

    Raises LogError.
    """
    path = log_folder / "public" / COSIGNED
    remedy = "remove it: the next round with the witnesses writes it again"
    with naming(path, remedy):
        try:
            return decode_checkpoint(path.read_bytes())
        except FileNotFoundError:
            return None
        except DecodeError as error:
            raise LogError(f"{path}: {error}; {remedy}") from None


class Cosigned:
    """Gathers cosignatures, and keeps the file at the checkpoint that the rule says."""

    def __init__(self, log_folder: Path, key: LogKey, witnesses: Sequence[WitnessKey], quorum: int) -> None:
        """*witnesses*: in the order of the settings. Goes on from the file as far as it verifies. Raises LogError."""
        self._path = log_folder / "public" / COSIGNED
        self._witnesses, self._quorum = tuple(witnesses), quorum
        self._newest: SignedCheckpoint | None = None
        self._gathered: dict[str, dict[WitnessKey, NoteSignature]] = {}
        kept = read_cosigned(log_folder)
        if kept is not None and _is_signed(kept, key):
            self._newest = kept
            self._gathered[kept.note.text] = {
                witness: line for witness in self._witnesses if (line := _line_of(kept.note, witness)) is not None
            }

    def has(self, signed: SignedCheckpoint, witness: WitnessKey) -> bool:
        """Whether this witness's cosignature of the checkpoint was gathered."""
        return witness in self._gathered.get(signed.note.text, {})

    def size_of(self, witness: WitnessKey) -> int:
        """Size of the checkpoint in the file, where this witness has cosigned it; else 0."""
        return self._newest.head.size if self._newest and self.has(self._newest, witness) else 0

    def add(self, signed: SignedCheckpoint, witness: WitnessKey, line: NoteSignature) -> int | None:
        """Take a verified cosignature of a checkpoint that has the log's own line only.

        Returns how many are in the file where it is another now, else None. Raises OSError.
        """
        lines = self._gathered.setdefault(signed.note.text, {})
        lines[witness] = line
        if not self._replaces(signed, len(lines)):
            return None
        ordered = tuple(lines[key] for key in self._witnesses if key in lines)
        self._newest = SignedCheckpoint(Note(signed.note.text, (signed.note.signatures[0], *ordered)), signed.head)
        disk.replace(self._path, encode_checkpoint(self._newest), disk.PUBLIC)
        self._forget(signed.head.size)
        return len(ordered)

    def _replaces(self, signed: SignedCheckpoint, count: int) -> bool:
        """The rule: not smaller, and not further from the quorum; of one checkpoint, more cosignatures."""
        if self._newest is None or self._newest.note.text == signed.note.text:
            return True
        before = len(self._gathered[self._newest.note.text])
        closer = min(count, self._quorum) >= min(before, self._quorum)
        return closer and signed.head.size >= self._newest.head.size

    def _forget(self, size: int) -> None:
        """What is smaller than the file's checkpoint never replaces it."""
        for text in [text for text in self._gathered if int(text.split("\n", 2)[1]) < size]:
            del self._gathered[text]


def _is_signed(signed: SignedCheckpoint, key: LogKey) -> bool:
    try:
        verify_checkpoint(signed, key)
    except SignatureError:
        return False
    return True


def _line_of(note: Note, witness: WitnessKey) -> NoteSignature | None:
    try:
        verify_cosignature(note, witness)
    except SignatureError:
        return None
    signature = note.signature_of(witness.name, witness.note_key_id)
    return None if signature is None else NoteSignature(witness.name, witness.note_key_id, signature)
