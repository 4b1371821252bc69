"""The commands of a TPM 2.0 that attestation and sealing need (TCG TPM 2.0 Library, part 3), and no other.

Authorisation is an empty password throughout, as on a TPM that nobody has taken: what protects the AK is that it signs
nothing but what the TPM itself has made, and what protects a sealed key is its policy.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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
PCR_CHANGED: Final = 0x128
"""TPM_RC_PCR_CHANGED: a PCR, any one, was extended after the policy had looked."""
OTHER_VALUE: Final = 0x1C4
"""TPM_RC_VALUE for the first parameter: the PCRs, or the policy so far, are others than the command says."""
_NEVER_WRITTEN: Final = 0x14A
"""TPM_RC_NV_UNINITIALIZED."""
_IN_WORDS: Final = {
    0x100: "it was not started after its reset",
    0x101: "it is in failure mode; only a reset helps",
    0x12F: "what was asked for may be used under its policy only",
    0x1DF: "it did not make this object: another TPM did, or it was cleared since",
    0x2DB: "the signature is not by this key",
    0x902: "it has no room for another key: somebody has left keys loaded",
    0x903: "it has no room for another session: somebody has left sessions open",
    0x921: "it is locked out after too many wrong authorisations; it says no until its time has passed",
    0x920: "it writes no more to its memory for now, which would wear out; ask again later",
    0x923: "its memory cannot be written now; ask again later",
    0x9A2: "its owner hierarchy has a password, and this one is used without",
}


@dataclass(frozen=True, slots=True)
class NvPublic:
    """What an NV index is: TPMA_NV, authorisation policy (empty or 32 bytes), bytes that it holds."""

    attributes: int
    policy: bytes
    size: int

    def encode(self, index: int) -> bytes:
        """TPMS_NV_PUBLIC; names are by SHA-256."""
        head = _uint(index, 4) + _uint(SHA256, 2) + _uint(self.attributes, 4)
        return head + sized(self.policy) + _uint(self.size, 2)


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

    def nv_public(self, index: int) -> NvPublic | None:
        """What an NV index is; None where there is no such index."""
        try:
            public = Cursor(self._call(0x169, [index]).sized(), "NV index")
            public.take(4 + 2)  # index, name algorithm
            return NvPublic(public.number(4), public.sized(), public.number(2))
        except DecodeError as error:
            raise TpmError(f"the TPM says nonsense of an {error}") from error
        except TpmError as error:
            if error.code == HANDLE:
                return None
            raise

    def read_nv(self, index: int) -> bytes | None:
        """What an NV index holds; nothing where it was never written; None where there is no such index."""
        public, data = self.nv_public(index), b""
        if public is None:
            return None
        while len(data) < public.size:
            step = min(_NV_STEP, public.size - len(data))
            parameters = _uint(step, 2) + _uint(len(data), 2)
            try:
                part = self._call(0x14E, [index, index], [_PASSWORD], parameters).sized()
            except TpmError as error:
                if error.code == _NEVER_WRITTEN:
                    return b""
                raise
            if len(part) != step:
                raise TpmError(f"the TPM gave {len(part)} bytes of an NV index for {step}")
            data += part
        return data

    def define_nv(self, index: int, public: NvPublic) -> None:
        """Make an NV index of the owner's, without a password."""
        self._call(0x12A, [RH_OWNER], [_PASSWORD], sized(b"") + sized(public.encode(index)))

    def increment_nv(self, index: int) -> None:
        """Raise a counter by one; one that is new starts above all that were deleted."""
        self._call(0x134, [index, index], [_PASSWORD])

    def seal(self, parent: int, template: bytes, secret: bytes) -> tuple[bytes, bytes]:
        """Seal at most 128 bytes: TPMT_PUBLIC, and what TPM2B_PRIVATE holds. *template*: TPMT_PUBLIC."""
        sensitive = sized(sized(b"") + sized(secret))
        answer = self._call(0x153, [parent], [_PASSWORD], sensitive + sized(template) + sized(b"") + _uint(0, 4))
        private_bytes = answer.sized()
        return answer.sized(), private_bytes

    @contextmanager
    def loaded(self, parent: int, public_bytes: bytes, private_bytes: bytes) -> Iterator[int]:
        """Load an object under its parent: its handle, until the end of the block."""
        answer = self._call(0x157, [parent], [_PASSWORD], sized(private_bytes) + sized(public_bytes), handles_out=1)
        try:
            yield answer.handles[0]
        finally:
            self.flush(answer.handles[0])

    def verify(self, public_bytes: bytes, digest: bytes, signature_bytes: bytes) -> bytes:
        """Let the TPM verify a TPMT_SIGNATURE by a key from outside: its ticket (TPMT_TK_VERIFIED)."""
        parameters = sized(b"") + sized(public_bytes) + _uint(RH_OWNER, 4)
        handle = self._call(0x167, parameters=parameters, handles_out=1).handles[0]
        try:
            return self._call(0x177, [handle], parameters=sized(digest) + signature_bytes).rest()
        finally:
            self.flush(handle)

    @contextmanager
    def policy_session(self) -> Iterator[int]:
        """A policy session that has shown nothing yet: its handle, until the end of the block."""
        parameters = sized(secrets.token_bytes(16)) + sized(b"") + _uint(_POLICY_SESSION, 1) + _uint(NULL, 2)
        answer = self._call(0x176, [_RH_NULL, _RH_NULL], parameters=parameters + _uint(SHA256, 2), handles_out=1)
        try:
            yield answer.handles[0]
        finally:
            self.flush(answer.handles[0])

    def policy_pcr(self, session: int, digest: bytes, indices: Iterable[int]) -> None:
        """Show that the PCRs have the values whose SHA-256 is *digest*."""
        self._call(0x17F, [session], parameters=sized(digest) + encode_selection(indices))

    def policy_authorize(self, session: int, policy: bytes, reference: bytes, name: bytes, ticket: bytes) -> None:
        """Show that the key of this name has signed what the session has shown so far (*policy*), for *reference*."""
        self._call(0x16A, [session], parameters=sized(policy) + sized(reference) + sized(name) + ticket)

    def unseal(self, handle: int, session: int | None = None) -> bytes:
        """What is sealed in a loaded object. *session*: a policy session; None: an empty password."""
        return self._call(0x15E, [handle], [_PASSWORD if session is None else session]).sized()

    def activate_credential(self, key: int, endorsement_key: int, credential: bytes, secret: bytes) -> bytes:
        """What a registrar has encrypted to the EK for the key at *key*. TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET in.

        The EK asks for the endorsement hierarchy's authorisation (TCG EK Credential Profile, PolicyA).
        """
        with self.policy_session() as session:
            self._call(0x151, [RH_ENDORSEMENT, session], [_PASSWORD], 3 * sized(b"") + _uint(0, 4))
            return self._call(0x147, [key, endorsement_key], [_PASSWORD, session], credential + secret).sized()

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
