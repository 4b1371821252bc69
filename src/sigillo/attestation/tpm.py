"""The commands of a TPM 2.0 that attestation needs (TCG TPM 2.0 Library, part 3), and no other.

Authorisation is an empty password throughout, as on a TPM that nobody has taken: what protects the AK is that it signs
nothing but what the TPM itself has made.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from sigillo.attestation.error import TpmError
from sigillo.attestation.link import Link
from sigillo.core.errors import DecodeError
from sigillo.core.tpm import NULL, RH_ENDORSEMENT, SHA256, Cursor, encode_selection, sized

RH_OWNER: Final = 0x4000_0001
_RH_NULL: Final = 0x4000_0007
_PASSWORD: Final = 0x4000_0009
_NO_SESSIONS, _SESSIONS = 0x8001, 0x8002
_POLICY_SESSION: Final = 0x01
_PCRS_A_READ: Final = 8
_NV_STEP: Final = 512
_RETRIES: Final = 20
_RETRY_S: Final = 0.05
_AGAIN: Final = frozenset({0x908, 0x90A, 0x922})
"""TPM_RC_YIELDED, TPM_RC_TESTING, TPM_RC_RETRY: ask again."""
HANDLE: Final = 0x18B
"""TPM_RC_HANDLE for the first handle: nothing is there."""
_IN_WORDS: Final = {
    0x100: "it was not started after its reset",
    0x101: "it is in failure mode; only a reset helps",
    0x902: "it has no room for another key: somebody has left keys loaded",
    0x903: "it has no room for another session: somebody has left sessions open",
    0x921: "it is locked out after too many wrong authorisations; it says no until its time has passed",
}


class Tpm:
    """One TPM. Every method raises TpmError where it refuses, does not answer in time, or answers nonsense."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def read_pcrs(self, indices: Sequence[int]) -> tuple[bytes, ...]:
        """Values of the SHA-256 bank, 32 bytes each, in the order of *indices*; not all of one moment."""
        values: list[bytes] = []
        for start in range(0, len(indices), _PCRS_A_READ):
            asked = indices[start : start + _PCRS_A_READ]
            answer = self._call(0x17E, parameters=encode_selection(asked))
            answer.number(4)  # update counter
            if answer.take(len(encode_selection(asked))) != encode_selection(asked):
                raise TpmError("the TPM has no SHA-256 bank, or not all of its PCRs")
            values += [answer.sized() for _ in range(answer.number(4))]
        if len(values) != len(indices):
            raise TpmError(f"the TPM gave {len(values)} PCR values for {len(indices)}")
        return tuple(values)

    def extend(self, index: int, digest: bytes) -> None:
        """Extend a PCR of the SHA-256 bank with 32 bytes."""
        self._call(0x182, [index], [_PASSWORD], _uint(1, 4) + _uint(SHA256, 2) + digest)

    def quote(self, handle: int, qualifying_data: bytes, indices: Iterable[int]) -> tuple[bytes, bytes]:
        """TPMS_ATTEST and TPMT_SIGNATURE of a quote by the key at *handle*."""
        parameters = sized(qualifying_data) + _uint(NULL, 2) + encode_selection(indices)
        answer = self._call(0x158, [handle], [_PASSWORD], parameters)
        return answer.sized(), answer.rest()

    def read_public(self, handle: int) -> bytes | None:
        """TPMT_PUBLIC of the key at *handle*; None where nothing is there."""
        try:
            return self._call(0x173, [handle]).sized()
        except TpmError as error:
            if error.code == HANDLE:
                return None
            raise

    @contextmanager
    def primary(self, template: bytes, hierarchy: int = RH_ENDORSEMENT) -> Iterator[tuple[int, bytes]]:
        """Make a primary key of a hierarchy from a TPMT_PUBLIC: its handle and its TPMT_PUBLIC.

        The same template makes the same key each time. It is unloaded at the end of the block.
        """
        sensitive = sized(sized(b"") + sized(b""))
        parameters = sensitive + sized(template) + sized(b"") + _uint(0, 4)
        answer = self._call(0x131, [hierarchy], [_PASSWORD], parameters, handles_out=1)
        handle = answer.handles[0]
        try:
            yield handle, answer.sized()
        finally:
            self.flush(handle)

    def persist(self, handle: int, persistent: int) -> None:
        """Keep a loaded key at a persistent handle."""
        self._call(0x120, [RH_OWNER, handle], [_PASSWORD], _uint(persistent, 4))

    def flush(self, handle: int) -> None:
        """Unload a key or a session."""
        self._call(0x165, parameters=_uint(handle, 4))

    def read_nv(self, index: int) -> bytes | None:
        """What an NV index holds; None where there is no such index."""
        try:
            public = Cursor(self._call(0x169, [index]).sized(), "NV index")
        except TpmError as error:
            if error.code == HANDLE:
                return None
            raise
        public.take(4 + 2 + 4)  # index, name algorithm, attributes
        public.sized()  # policy
        size, data = public.number(2), b""
        while len(data) < size:
            step = min(_NV_STEP, size - len(data))
            parameters = _uint(step, 2) + _uint(len(data), 2)
            data += self._call(0x14E, [index, index], [_PASSWORD], parameters).sized()
        return data

    def activate_credential(self, key: int, endorsement_key: int, credential: bytes, secret: bytes) -> bytes:
        """What a registrar has encrypted to the EK for the key at *key*. TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET in.

        The EK asks for the endorsement hierarchy's authorisation (TCG EK Credential Profile, PolicyA).
        """
        session = self._start_policy_session()
        try:
            self._call(0x151, [RH_ENDORSEMENT, session], [_PASSWORD], 3 * sized(b"") + _uint(0, 4))
            return self._call(0x147, [key, endorsement_key], [_PASSWORD, session], credential + secret).sized()
        finally:
            self.flush(session)

    def _start_policy_session(self) -> int:
        parameters = sized(secrets.token_bytes(16)) + sized(b"") + _uint(_POLICY_SESSION, 1) + _uint(NULL, 2)
        answer = self._call(0x176, [_RH_NULL, _RH_NULL], parameters=parameters + _uint(SHA256, 2), handles_out=1)
        return answer.handles[0]

    def _call(
        self,
        code: int,
        handles: Sequence[int] = (),
        sessions: Sequence[int] = (),
        parameters: bytes = b"",
        handles_out: int = 0,
    ) -> _Answer:
        body = b"".join(_uint(handle, 4) for handle in handles)
        if sessions:
            area = b"".join(_uint(session, 4) + sized(b"") + b"\x01" + sized(b"") for session in sessions)
            body += _uint(len(area), 4) + area
        body += parameters
        tag = _SESSIONS if sessions else _NO_SESSIONS
        command = _uint(tag, 2) + _uint(10 + len(body), 4) + _uint(code, 4) + body
        for _ in range(_RETRIES):
            response = self._link.transmit(command)
            result = int.from_bytes(response[6:10], "big")
            if result not in _AGAIN:
                break
            time.sleep(_RETRY_S)
        if result:
            raise TpmError(f"the TPM refuses command {code:#x}: {_IN_WORDS.get(result, f'code {result:#x}')}", result)
        return _Answer(response, handles_out, with_sessions=bool(sessions))


class _Answer(Cursor):
    """Handles and parameters of a response; where it ends too early it is the TPM's fault."""

    def __init__(self, response: bytes, handles: int, *, with_sessions: bool) -> None:
        super().__init__(response[10:], "TPM response")
        self.handles = tuple(self.number(4) for _ in range(handles))
        if with_sessions:
            super().__init__(self.take(self.number(4)), "TPM response")

    def take(self, size: int) -> bytes:
        try:
            return super().take(size)
        except DecodeError as error:
            raise TpmError(str(error)) from error


def _uint(value: int, size: int) -> bytes:
    return value.to_bytes(size, "big")
