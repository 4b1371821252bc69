"""The counter of one log in a TPM: it only ever goes up (spec/sealing.md, "Counter")."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sigillo.attestation.error import TpmError
from sigillo.attestation.link import open_link
from sigillo.attestation.tpm import NvPublic, Tpm

BASE: Final = 0x0181_0000
"""Index of a log: this, and the first two bytes of its key id."""
TIMEOUT_S: Final = 5.0
"""For each command: the log waits meanwhile, marks do not."""
_ATTRIBUTES: Final = 0x0206_0016
"""TPMA_NV: a counter, written and read by its owner and under its own empty password, never locked out."""
_WRITTEN: Final = 0x2000_0000
_SIZE: Final = 8


class NvCounter:
    """The counter of the log with this key id (32 bytes), in the TPM at a path. Raises TpmError."""

    def __init__(self, tpm: Path, key_id: bytes) -> None:
        self._path, self._key_id = tpm, key_id
        self.index = BASE + int.from_bytes(key_id[:2], "big")

    def read(self) -> int | None:
        """Where it is; 0 where it was never raised, None where there is none."""
        with self._tpm() as tpm:
            public = tpm.nv_public(self.index)
            if public is None:
                return None
            if (public.attributes & ~_WRITTEN, public.policy, public.size) != (_ATTRIBUTES, self._key_id, _SIZE):
                raise TpmError(
                    f"the TPM's NV index {self.index:#010x}, where the log's counter belongs, is something else's. If "
                    f"that is not needed any more: tpm2_nvundefine -C o {self.index:#010x}"
                )
            return int.from_bytes(tpm.read_nv(self.index) or b"", "big")

    def make(self) -> None:
        """Make it; it is then 0."""
        with self._tpm() as tpm:
            tpm.define_nv(self.index, NvPublic(_ATTRIBUTES, self._key_id, _SIZE))

    def increment(self) -> None:
        """Raise it by one; the first time, to more than any counter was that this TPM has deleted."""
        with self._tpm() as tpm:
            tpm.increment_nv(self.index)

    @contextmanager
    def _tpm(self) -> Iterator[Tpm]:
        link = open_link(self._path, TIMEOUT_S)
        try:
            yield Tpm(link)
        finally:
            link.close()
