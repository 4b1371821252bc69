"""Vectors of the answer to a challenge: a broker of the sample, launched on a TPM in memory, and one that is real."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from typing import Any

from sigillo.core.attestation import encode_attestation
from sigillo.core.bytes import base64url_encode
from sigillo.core.canonical import canonical
from sigillo.core.challenge import ChallengeAnswer, ConfigurationText, Hidden, encode_challenge_answer
from sigillo.core.checkpoint import TreeHead, encode_checkpoint, sign_checkpoint
from sigillo.core.endorsement import encode_registration
from sigillo.core.epoch import configuration_hash, countersign, decode_statement, encode_statement
from sigillo.core.event_log import encode_event_log
from sigillo.core.launch import Closure, EpochEvent, Member, Role, encode_closure, encode_launch_event
from sigillo.core.mark import Checkpoint
from sigillo.core.quote import LAUNCH_PCR, Subject
from sigillo.core.statement import Attester, AttesterKind
from tests.adversary.tpm import LyingTpm
from tests.vector.accept_tpm import REGISTRAR, launched, registration
from tests.vector.file import Value
from tests.vector.key import EPOCH, LOG, filler
from tests.vector.sample import FIRST_COUNTERSIGNED, FIRST_FIELDS, FIRST_STATEMENT, LOG_KEY, whole
from tests.vector.sample_tpm import CHALLENGED, CLOSURE, FAILED_LAUNCH, LAUNCH, NONCE, OPENING, PROCESS

Vector = dict[str, Value]
TEXTS = {
    "conf/acl": "pattern write braid/agent/%u/shadow/reported/#\n",
    "conf/mosquitto.conf": 'per_listener_settings false\n# "È mezzanotte" \\ said he\nallow_anonymous false\n',
}
KEY_NAME = LyingTpm().key.name


def closure() -> Closure:
    """The sample's, with the files of TEXTS and the server's key."""
    digests = {name: hashlib.sha256(text.encode()).digest() for name, text in TEXTS.items()}
    digests["conf/tls/server.key.pem"] = filler("server key")
    others = [member for member in CLOSURE.members if member.role is not Role.CONFIGURATION]
    return Closure.of([*others, *(Member(Role.CONFIGURATION, name, digest) for name, digest in digests.items())])


def configuration(**changes: str) -> tuple[ConfigurationText, ...]:
    """What is shown of that closure's configuration."""
    texts = {**TEXTS, **changes}
    shown = (ConfigurationText(name, text) for name, text in texts.items())
    return (*shown, ConfigurationText("conf/tls/server.key.pem", None, Hidden.OTHER))


class Launched:
    """A broker whose launch is measured into a TPM in memory, and which answers as it is asked to."""

    def __init__(self, size: int = 4712) -> None:
        found = closure()
        fields = dataclasses.replace(
            FIRST_FIELDS,
            attester=Attester(AttesterKind.TPM, KEY_NAME),
            configuration_hash=configuration_hash(
                {member.name: member.digest for member in found.members if member.role is Role.CONFIGURATION}
            ),
        )
        self.statement = countersign(encode_statement(whole(fields), EPOCH.sign), LOG_KEY.key_id32, LOG.sign)
        self.epoch_id = decode_statement(self.statement).epoch_id
        launch = dataclasses.replace(LAUNCH, closure_hash=found.object_hash)
        self.events = tuple(map(encode_launch_event, (FAILED_LAUNCH, launch, EpochEvent(self.epoch_id, PROCESS))))
        self.tpm = LyingTpm()
        self.tpm.extend(LAUNCH_PCR, [event.digest for event in self.events])
        self.checkpoint = Checkpoint(size, filler(f"root {size}"))

    def answer(self, nonce: bytes = NONCE, **lies: Any) -> ChallengeAnswer:
        """The honest answer, but for *lies*: members to replace."""
        head = TreeHead(LOG_KEY.name, self.checkpoint.size, self.checkpoint.root)
        honest = ChallengeAnswer(
            evidence_bytes=encode_attestation(self.tpm.quote(Subject(self.epoch_id, self.checkpoint, nonce))),
            statement_bytes=self.statement,
            launch_bytes=encode_event_log(self.events),
            closure_bytes=encode_closure(closure()),
            configuration=configuration(),
            registration_bytes=None,
            checkpoint_bytes=encode_checkpoint(sign_checkpoint(head, LOG_KEY, LOG.sign)),
        )
        return dataclasses.replace(honest, **lies)


def registered() -> bytes:
    """A registration, of the recorded TPM."""
    return encode_registration(registration(), REGISTRAR.public, REGISTRAR.sign)


def answers() -> dict[str, ChallengeAnswer]:
    """Good answers by name."""
    broker = Launched()
    hidden = tuple(
        ConfigurationText(name, None, reason)
        for name, reason in zip(
            (item.name for item in configuration()), (Hidden.SECRET, Hidden.CHANGED, Hidden.SIZE), strict=True
        )
    )
    return {
        "simulated": broker.answer(),
        "registered": broker.answer(registration_bytes=registered()),
        "hidden": broker.answer(configuration=hidden),
    }


def accepted() -> dict[str, Vector]:
    """vectors/challenge/accept."""
    return {
        name: {
            "answer": encode_challenge_answer(answer).decode(),
            "nonce": NONCE,
            "key_name": KEY_NAME,
            "epoch_id": answer.statement.epoch_id,
            "checkpoint_size": answer.checkpoint.head.size,
            "shown": sum(item.text is not None for item in answer.configuration),
            "hidden": sum(item.text is None for item in answer.configuration),
        }
        for name, answer in answers().items()
    }


def rejected() -> dict[str, Vector]:
    """vectors/challenge/reject."""
    made: dict[str, Vector] = {
        name: {"answer": text, "reason": reason} for name, (text, reason) in {**_spelled(), **_members()}.items()
    }
    for name, (answer, reason) in _untrue().items():
        text = encode_challenge_answer(answer).decode()
        made[name] = {"answer": text, "nonce": NONCE, "key_name": KEY_NAME, "reason": reason}
    return made


def changed(change: Callable[[dict[str, Any]], object]) -> str:
    """The good answer's JSON with a change, canonical again."""
    value = json.loads(encode_challenge_answer(Launched().answer()))
    change(value)
    return canonical(value).decode()


def _spelled() -> dict[str, tuple[str, str]]:
    good = encode_challenge_answer(Launched().answer()).decode()
    value = json.loads(good)
    return {
        "empty-object": ("{}", "no members"),
        "array": (f"[{good}]", "an array"),
        "spaces": (json.dumps(value, sort_keys=True, ensure_ascii=False), "spaces after the separators"),
        "escapes": (json.dumps(value, sort_keys=True, separators=(",", ":")), "needless escapes"),
        "order": (json.dumps(dict(reversed(value.items())), separators=(",", ":"), ensure_ascii=False), "key order"),
        "twice": (good[:-1] + ',"statement":""}', "a member twice"),
        "after": (good + "{}", "something after the object"),
        "cut-off": (good[:-1], "cut off"),
        "error": ('{"error":"no quote","remedy":"ask again"}', "what goes with status 503"),
    }


def _members() -> dict[str, tuple[str, str]]:
    def put(**members: Any) -> str:
        return changed(lambda value: value.update(members))

    def put_text(**members: Any) -> str:
        return changed(lambda value: value["configuration"][0].update(members))

    def put_binary(name: str, data: bytes) -> str:
        return put(**{name: base64url_encode(data)})

    def swap(value: dict[str, Any]) -> None:
        value["configuration"].reverse()

    def repeat(value: dict[str, Any]) -> None:
        value["configuration"].append(value["configuration"][-1])

    periodic = encode_attestation(launched().quote(OPENING))
    encoded = base64url_encode(periodic)
    cases: dict[str, tuple[str, str]] = {
        "more": (put(note="x"), "a member that is not known"),
        "evidence-periodic": (put_binary("evidence", periodic), "an entry of the log: no nonce"),
        "evidence-padded": (put(evidence=f"{encoded}=="), "base64url with padding"),
        "evidence-empty": (put(evidence=""), "no evidence"),
        "evidence-null": (put(evidence=None), "evidence is null"),
        "evidence-long": (put_binary("evidence", bytes(4097)), "evidence of 4097 bytes"),
        "statement-plain": (put_binary("statement", FIRST_STATEMENT), "a statement without countersignature"),
        "launch-empty": (put(launch=""), "no launch log"),
        "launch-cut": (put_binary("launch", encode_event_log(Launched().events)[:-1]), "a launch log that is cut off"),
        "closure-statement": (put_binary("closure", Launched().statement), "a statement as closure"),
        "registration-empty": (put(registration=""), "a registration that is empty, and not null"),
        "checkpoint-text": (put(checkpoint="a note"), "a checkpoint that is not base64url"),
        "configuration-null": (put(configuration=None), "no configuration"),
        "configuration-order": (changed(swap), "files in descending order"),
        "configuration-twice": (changed(repeat), "a file twice"),
        "text-and-reason": (put_text(hidden="secret"), "a text, and why it is hidden"),
        "text-neither": (put_text(text=None), "neither a text nor a reason"),
        "text-number": (put_text(text=1), "a number as text"),
        "text-long": (put_text(text="x" * 65_537), "a text of 65,537 bytes"),
        "reason-other": (put_text(text=None, hidden="because"), "a reason that is not known"),
        "item-more": (put_text(digest=""), "an item with one member more"),
        "name-empty": (put_text(name=""), "a file without a name"),
    }
    for name in ("checkpoint", "closure", "configuration", "evidence", "launch", "registration", "statement"):
        cases[f"without-{name}"] = (changed(lambda value, name=name: value.pop(name)), f"{name} is missing")  # type: ignore[misc]
    return cases


def _untrue() -> dict[str, tuple[ChallengeAnswer, str]]:
    broker = Launched()
    honest = broker.answer()
    other_epoch = encode_attestation(broker.tpm.quote(CHALLENGED))
    forged = dataclasses.replace(honest.evidence, subject=Subject(broker.epoch_id, broker.checkpoint, NONCE))
    flipped = bytearray(forged.signature_bytes)
    flipped[-1] ^= 1
    bad = encode_attestation(dataclasses.replace(forged, signature_bytes=bytes(flipped)))
    edited = configuration(**{"conf/mosquitto.conf": "allow_anonymous true\n"})
    return {
        "nonce-other": (broker.answer(filler("another nonce")), "the answer to another nonce"),
        "epoch-other": (broker.answer(evidence_bytes=other_epoch), "a quote about another epoch"),
        "statement-declared": (broker.answer(statement_bytes=FIRST_COUNTERSIGNED), "a statement without a TPM"),
        "checkpoint-other": (
            broker.answer(checkpoint_bytes=Launched(4713).answer().checkpoint_bytes),
            "another checkpoint than the quote is about",
        ),
        "signature-other": (broker.answer(evidence_bytes=bad), "a signature that does not hold"),
        "text-other": (broker.answer(configuration=edited), "a text that was not measured"),
        "configuration-less": (broker.answer(configuration=configuration()[1:]), "one of the files is not listed"),
        "closure-other": (
            broker.answer(closure_bytes=encode_closure(CLOSURE)),
            "a closure with another configuration",
        ),
    }
