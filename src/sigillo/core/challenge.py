"""The answer to a challenge: a fresh quote, and what reading it needs (spec/challenge.md)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sigillo.core.attestation import MAX_SIZE as MAX_EVIDENCE
from sigillo.core.attestation import AttestationEvidence, decode_attestation, verify_answer
from sigillo.core.bytes import base64url_decode, base64url_encode
from sigillo.core.canonical import canonical_object, encode_object
from sigillo.core.checkpoint import SignedCheckpoint, decode_checkpoint
from sigillo.core.endorsement import SignedRegistration, decode_registration
from sigillo.core.epoch import SignedStatement, decode_statement
from sigillo.core.errors import AttestationError, DecodeError
from sigillo.core.field import array, ascending, members, text
from sigillo.core.handshake import MAX_PACKET
from sigillo.core.launch import (
    MAX_CLOSURE,
    MAX_MEMBERS,
    MAX_PATH,
    Closure,
    Role,
    decode_closure,
    decode_launch_log,
)
from sigillo.core.note import MAX_NOTE
from sigillo.core.quote import NONCE_SIZE, Quote
from sigillo.core.statement import AttesterKind

PATH: Final = "/attestation"
MAX_ANSWER: Final = 8 * 1024 * 1024
MAX_LAUNCH: Final = 4 * 1024 * 1024
MAX_STATEMENT: Final = MAX_PACKET
MAX_REGISTRATION: Final = 256 * 1024
MAX_TEXT: Final = 65_536
_ANSWER: Final = "challenge answer"
_NONCE: Final = re.compile(f"{re.escape(PATH)}\\?nonce=([0-9a-f]{{{2 * NONCE_SIZE}}})")
_MAX: Final = {
    "evidence": MAX_EVIDENCE,
    "statement": MAX_STATEMENT,
    "launch": MAX_LAUNCH,
    "closure": MAX_CLOSURE,
    "registration": MAX_REGISTRATION,
    "checkpoint": MAX_NOTE,
}


class Hidden(StrEnum):
    """Why the text of a configuration file is not shown."""

    SECRET = "secret"  # noqa: S105  # no password
    OTHER = "other"
    CHANGED = "changed"
    SIZE = "size"


@dataclass(frozen=True, slots=True)
class ConfigurationText:
    """A file of the configuration: *name* as in the closure; its *text*, or None and why it is *hidden*."""

    name: str
    text: str | None
    hidden: Hidden | None = None


@dataclass(frozen=True, slots=True)
class ChallengeAnswer:
    """An answer, not verified. Each `…_bytes` is an object of the format of its name; *registration_bytes* may be None.

    The properties decode them; of an answer that was decoded or encoded none raises.
    """

    evidence_bytes: bytes
    statement_bytes: bytes
    launch_bytes: bytes
    closure_bytes: bytes
    configuration: tuple[ConfigurationText, ...]
    registration_bytes: bytes | None
    checkpoint_bytes: bytes

    @property
    def evidence(self) -> AttestationEvidence:
        """The quote, for the challenger's nonce."""
        return decode_attestation(self.evidence_bytes)

    @property
    def statement(self) -> SignedStatement:
        """The statement of the epoch that runs."""
        return decode_statement(self.statement_bytes)

    @property
    def closure(self) -> Closure:
        """What the last launch was made of."""
        return decode_closure(self.closure_bytes)

    @property
    def registration(self) -> SignedRegistration | None:
        """What a registrar says of the attestation key, where one did."""
        return None if self.registration_bytes is None else decode_registration(self.registration_bytes)

    @property
    def checkpoint(self) -> SignedCheckpoint:
        """The newest of the log when the quote was made."""
        return decode_checkpoint(self.checkpoint_bytes)

    @property
    def texts(self) -> dict[str, str | None]:
        """Text of each configuration file by its name in the closure; None where it is hidden."""
        return {item.name: item.text for item in self.configuration}


def encode_request(nonce: bytes) -> str:
    """Path and query of a challenge with a nonce of 32 bytes. Raises DecodeError for one of another length."""
    target = f"{PATH}?nonce={nonce.hex()}"
    decode_request(target)
    return target


def decode_request(target: str) -> bytes:
    """The nonce, 32 bytes, of a request's path and query. Raises DecodeError."""
    found = _NONCE.fullmatch(target)
    if found is None:
        raise DecodeError("nonce", f"must be given as {PATH}?nonce= and {2 * NONCE_SIZE} lower-case hex digits")
    return bytes.fromhex(found[1])


def encode_challenge_answer(answer: ChallengeAnswer) -> bytes:
    """The JSON object, without LF. Raises DecodeError for an answer that could not be decoded again."""
    binary = {
        "evidence": answer.evidence_bytes,
        "statement": answer.statement_bytes,
        "launch": answer.launch_bytes,
        "closure": answer.closure_bytes,
        "registration": answer.registration_bytes,
        "checkpoint": answer.checkpoint_bytes,
    }
    value: dict[str, object] = {
        name: None if content is None else base64url_encode(content) for name, content in binary.items()
    }
    value["configuration"] = [
        {"name": item.name, "text": item.text, "hidden": item.hidden} for item in answer.configuration
    ]
    data = encode_object(value, _ANSWER)
    if decode_challenge_answer(data) != answer:
        raise DecodeError(_ANSWER, "would be read as another one")
    return data


def decode_challenge_answer(data: bytes) -> ChallengeAnswer:
    """Decode the JSON object and every object in it. Raises DecodeError naming the member; nothing is verified."""
    if len(data) > MAX_ANSWER:
        raise DecodeError(_ANSWER, f"is longer than {MAX_ANSWER} bytes")
    value = members(canonical_object(data, _ANSWER), _ANSWER, *_MAX, "configuration")
    return ChallengeAnswer(
        evidence_bytes=_binary(value, "evidence", _challenged),
        statement_bytes=_binary(value, "statement", _countersigned),
        launch_bytes=_binary(value, "launch", decode_launch_log),
        closure_bytes=_binary(value, "closure", decode_closure),
        configuration=_configuration(value["configuration"]),
        registration_bytes=(
            None if value["registration"] is None else _binary(value, "registration", decode_registration)
        ),
        checkpoint_bytes=_binary(value, "checkpoint", decode_checkpoint),
    )


def verify_challenge_answer(answer: ChallengeAnswer, nonce: bytes) -> Quote:
    """The quote of an answer that was made for *nonce* (32 bytes, the challenger's own), steps 1 to 4 of the spec.

    It says which key made it, and when. Whose TPM has that key, whether statement and checkpoint are the operator's,
    and where the launch log leads, is for others to verify. Raises AttestationError, DecodeError.
    """
    signed, evidence = answer.statement, answer.evidence
    stated = signed.statement.attester
    if stated is None or stated.kind is not AttesterKind.TPM or not isinstance(stated.name, bytes):
        raise AttestationError("the epoch statement names no attestation key of a TPM")
    if evidence.subject.epoch_id != signed.epoch_id:
        raise AttestationError("the quote is about another epoch than the statement is of")
    quote = verify_answer(evidence, stated.name, nonce)
    if answer.checkpoint.head.checkpoint != evidence.subject.checkpoint:
        raise AttestationError("the checkpoint is not the one that the quote is about")
    _check_texts(answer)
    return quote


def _check_texts(answer: ChallengeAnswer) -> None:
    digests = {member.name: member.digest for member in answer.closure.members if member.role is Role.CONFIGURATION}
    if digests.keys() != answer.texts.keys():
        raise AttestationError("the configuration lists other files than the closure")
    for name, content in answer.texts.items():
        if content is not None and hashlib.sha256(content.encode()).digest() != digests[name]:
            raise AttestationError(f"the text of {name} is not what was measured")


def _binary(value: dict[str, object], name: str, decode: Callable[[bytes], object]) -> bytes:
    """The bytes of a member, which *decode* can read."""
    where = f"{_ANSWER}, {name}"
    encoded = value[name]
    if type(encoded) is not str:
        raise DecodeError(where, "is not text")
    if len(encoded) > 4 * _MAX[name] // 3 + 2:
        raise DecodeError(where, f"is longer than {_MAX[name]} bytes")
    content = base64url_decode(encoded, where)
    try:
        decode(content)
    except (DecodeError, AttestationError) as error:
        raise DecodeError(where, str(error)) from None
    return content


def _challenged(data: bytes) -> None:
    if decode_attestation(data).subject.nonce is None:
        raise DecodeError("nonce", "is missing: this is an entry of the log, not the answer to a challenge")


def _countersigned(data: bytes) -> None:
    decode_statement(data).countersigned_bytes()


def _configuration(value: object) -> tuple[ConfigurationText, ...]:
    where = f"{_ANSWER}, configuration"
    items = array(value, where)
    if len(items) > MAX_MEMBERS:
        raise DecodeError(where, f"has more than {MAX_MEMBERS} items")
    found = tuple(_text(item, where) for item in items)
    ascending([item.name for item in found], where)
    return found


def _text(value: object, where: str) -> ConfigurationText:
    item = members(value, where, "name", "text", "hidden")
    name = text(item["name"], f"{where}, name", 1, MAX_PATH, allow_nul=False)
    if (item["text"] is None) == (item["hidden"] is None):
        raise DecodeError(where, f"{name[:64]} must have either a text, or why it is hidden")
    if item["hidden"] is None:
        return ConfigurationText(name, text(item["text"], f"{where}, text", 0, MAX_TEXT))
    reason = text(item["hidden"], f"{where}, hidden")
    if reason not in set(Hidden):
        raise DecodeError(f"{where}, hidden", f"{reason[:32]!r} is none of {', '.join(Hidden)}")
    return ConfigurationText(name, None, Hidden(reason))
