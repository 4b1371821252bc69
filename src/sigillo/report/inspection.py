"""What an evidence file holds, by its own account: decoded, and nothing verified."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sigillo.core.certificate import validity
from sigillo.core.checkpoint import SignedCheckpoint, TreeHead
from sigillo.core.decoded import (
    DecodedCertificate,
    DecodedEnd,
    DecodedEpoch,
    DecodedManifest,
    DecodedMessage,
    DecodedRebuild,
    DecodedToken,
    DecodedTrailer,
    decode_objects,
)
from sigillo.core.epoch import SignedEpochEnd, SignedStatement
from sigillo.core.evidence_line import NumberedLine
from sigillo.core.ledger import Ledger
from sigillo.core.manifest import moment_text
from sigillo.core.mark import SignedMark
from sigillo.core.verdict import MAX_LISTED, Summary
from sigillo.report.escape import escape
from sigillo.report.machine import MachineInspection
from sigillo.report.moment import duration, span, utc

SHOWN_MESSAGES = 10
NO_TRUST = "Nothing here is verified: this is what the file says. `sigillo verify` gives the answer."


@dataclass(frozen=True, slots=True)
class Inspection:
    """The summary of a file, its first ``MAX_LISTED`` certificates, epochs and messages, and its log's checkpoint.

    *ends*: of these epochs, by the line of the epoch; *stops*: how many earlier checkpoints the log proof passes;
    *tokens*: the first time-stamp tokens, *token_count*: how many there are;
    *builds*: its manifests and rebuild statements; *machine*: what it has of quotes and launches.
    """

    summary: Summary
    certificates: tuple[DecodedCertificate, ...]
    epochs: tuple[DecodedEpoch, ...]
    messages: tuple[DecodedMessage, ...]
    ends: Mapping[int, SignedEpochEnd]
    checkpoint: SignedCheckpoint | None
    stops: int
    tokens: tuple[DecodedToken, ...]
    token_count: int
    builds: tuple[DecodedManifest | DecodedRebuild, ...]
    machine: MachineInspection

    def to_json(self) -> dict[str, Any]:
        """Only str, int, bool, None, list and dict; hashes and keys in lower-case hex, times in ns of Unix time."""
        return {
            "verified": False,
            "note": NO_TRUST,
            "epoch_count": self.summary.epoch_count,
            "message_count": self.summary.message_count,
            "principal_count": self.summary.device_count,
            "not_held_count": self.summary.not_held_count,
            "checkpoint": _checkpoint_json(self.checkpoint.head if self.checkpoint else None),
            "builds": [_build_json(build) for build in self.builds],
            "cosignature_count": len(self.checkpoint.note.signatures) - 1 if self.checkpoint else 0,
            "token_count": self.token_count,
            "tokens": [_token_json(token) for token in self.tokens],
            "machine": self.machine.to_json(),
            "certificates": [_certificate_json(certificate) for certificate in self.certificates],
            "epochs": [_epoch_json(epoch.statement, self.ends.get(epoch.number)) for epoch in self.epochs],
            "principals": [{"name": device.id, "messages": device.messages} for device in self.summary.devices],
            "messages": [_message_json(message) for message in self.messages],
        }


def inspect(lines: Iterable[bytes]) -> Inspection:
    """Decode every line of an evidence file (without LF). Raises DecodeError."""
    ledger = Ledger(strict=False)
    certificates: list[DecodedCertificate] = []
    epochs: list[DecodedEpoch] = []
    messages: list[DecodedMessage] = []
    builds: list[DecodedManifest | DecodedRebuild] = []
    ends: dict[int, SignedEpochEnd] = {}
    checkpoint: SignedCheckpoint | None = None
    tokens: list[DecodedToken] = []
    newest = stops = token_count = 0
    machine = MachineInspection()
    for decoded in decode_objects(lines):
        if machine.add(decoded):
            continue
        if isinstance(decoded, DecodedCertificate):
            certificates += [decoded] if len(certificates) < MAX_LISTED else []
        elif isinstance(decoded, DecodedManifest | DecodedRebuild):
            builds.append(decoded)
        elif isinstance(decoded, DecodedEpoch):
            statement = decoded.statement
            ledger.epoch(statement.statement, statement.epoch_id)
            epochs += [decoded] if len(epochs) < MAX_LISTED else []
            newest = decoded.number
        elif isinstance(decoded, DecodedEnd):
            if epochs and epochs[-1].number == newest:
                ends[newest] = decoded.end
        elif isinstance(decoded, DecodedMessage):
            _count(decoded, ledger)
            messages += [decoded] if len(messages) < MAX_LISTED else []
        elif isinstance(decoded, DecodedToken):
            token_count += 1
            tokens += [decoded] if len(tokens) < MAX_LISTED else []
        elif isinstance(decoded, DecodedTrailer):
            checkpoint = decoded.checkpoint
        elif isinstance(decoded, NumberedLine):
            stops += decoded.line.kind == "stop"
    return Inspection(
        summary=ledger.summary(),
        certificates=tuple(certificates),
        epochs=tuple(epochs),
        messages=tuple(messages),
        ends=ends,
        checkpoint=checkpoint,
        stops=stops,
        tokens=tuple(tokens),
        token_count=token_count,
        builds=tuple(builds),
        machine=machine,
    )


def _count(decoded: DecodedMessage, ledger: Ledger) -> None:
    if decoded.line.payload is None:
        ledger.not_held()
    else:
        ledger.message(decoded.mark.mark)


def render_inspection(inspection: Inspection) -> str:
    """The inspection as lines of text, each ended by LF; what others wrote is escaped."""
    return "".join(f"{line}\n" for line in _lines(inspection))


def _lines(inspection: Inspection) -> Iterator[str]:
    summary = inspection.summary
    yield NO_TRUST
    yield ""
    yield f"{summary.epoch_count} epoch(s), {summary.message_count} message(s) of {summary.device_count} principal(s)"
    if summary.received:
        yield f"marked {span(summary.received.first_ns, summary.received.last_ns)}"
    if summary.not_held_count:
        yield f"{summary.not_held_count} mark(s) admitted, not held: the file has no payload for them"
    yield from _log_lines(inspection)
    for certificate in inspection.certificates:
        found = validity(certificate.chain[0])
        valid = span(found.from_ns, found.to_ns)
        yield f"certificate of {escape(certificate.device)}: serial number {_serial(certificate)}, valid {valid}"
    for build in inspection.builds:
        yield from _build_lines(build)
    yield from inspection.machine.lines()
    for epoch in inspection.epochs:
        yield ""
        yield from _epoch_lines(epoch.statement, inspection.ends.get(epoch.number))
    if summary.epoch_count > len(inspection.epochs):
        yield f"… and {summary.epoch_count - len(inspection.epochs)} epochs more"
    yield ""
    for device in summary.devices:
        yield f"principal {escape(device.id) or '(nobody)'}: {device.messages} message(s)"
    if summary.device_count > len(summary.devices):
        yield f"… and {summary.device_count - len(summary.devices)} principals more"
    yield ""
    for message in inspection.messages[:SHOWN_MESSAGES]:
        yield _message_line(message)
    if summary.message_count > SHOWN_MESSAGES:
        yield f"… and {summary.message_count - SHOWN_MESSAGES} messages more"


def _log_lines(inspection: Inspection) -> Iterator[str]:
    """The checkpoint, and the tokens over earlier ones."""
    if inspection.checkpoint is None:
        yield "no log proof"
        return
    head = inspection.checkpoint.head
    yield f"log {escape(head.origin)}: checkpoint of size {head.size}, root {head.root.hex()}"
    yield f"  passes {inspection.stops} earlier checkpoint(s)"
    yield f"  has {len(inspection.checkpoint.note.signatures) - 1} signature(s) beside the log's first"
    for token in inspection.tokens[:SHOWN_MESSAGES]:
        yield _token_line(token)
    if inspection.token_count > SHOWN_MESSAGES:
        yield f"  … and {inspection.token_count - SHOWN_MESSAGES} time-stamp tokens more"


def _build_lines(build: DecodedManifest | DecodedRebuild) -> Iterator[str]:
    if isinstance(build, DecodedRebuild):
        statement = build.rebuild.statement
        yield f"rebuild statement of {escape(statement.rebuilder)} about manifest {statement.manifest.hex()}"
        return
    yield f"build manifest {build.manifest.sha256.hex()} of {escape(build.manifest.manifest.builder)}"
    for made in build.manifest.manifest.builds:
        yield f"  {made.name} {made.version}, source {made.source_commit}, built {moment_text(made.build_date)}"


def _epoch_lines(signed: SignedStatement, signed_end: SignedEpochEnd | None) -> Iterator[str]:
    statement = signed.statement
    yield f"epoch {statement.number} of operator {escape(statement.operator)}, log {escape(statement.log_origin)}"
    yield f"  id             {signed.epoch_id.hex()}"
    yield f"  epoch key      {statement.epoch_key.hex()}"
    yield f"  log key id     {statement.log_key_id.hex()}"
    yield f"  started        {utc(statement.start_ns)}, clock kept by {statement.clock_daemon}"
    previous = statement.previous
    yield f"  epoch before   {_ending(signed)}" + (f", id {previous.epoch_id.hex()}" if previous else "")
    yield f"  executable     {statement.executable_hash.hex()}"
    yield f"  plugin         {statement.plugin_hash.hex()}"
    yield f"  configuration  {statement.configuration_hash.hex()}"
    if statement.manifest_hash:
        yield f"  manifest       {statement.manifest_hash.hex()}"
    for rule in statement.filters:
        yield f"  marks          {escape(rule.topic_filter)} ({rule.mode.name.lower()}, {rule.carrier.name.lower()})"
    yield f"  principals by  {statement.principal_source.name.lower().replace('_', '-')}"
    yield f"  separated      {'yes' if statement.separated else 'no: one user holds broker and log key'}"
    if signed_end:
        yield f"  ended          {utc(signed_end.end.time_ns)}, last sequence {signed_end.end.last_sequence}"
    else:
        yield "  ended          not in the file"


def _ending(signed: SignedStatement) -> str:
    previous = signed.statement.previous
    return previous.ended.name.lower().replace("_", " ") if previous else "none"


def _message_line(message: DecodedMessage) -> str:
    mark: SignedMark = message.mark
    line = message.line
    payload = "not held" if line.payload is None else f"{len(line.payload)} bytes"
    entry = "" if line.index is None else f", entry {line.index}"
    when = utc(mark.mark.time_ns)
    return f"line {message.number}: {mark.mark.sequence} {when} {escape(line.topic)} {payload}{entry}"


def _token_line(token: DecodedToken) -> str:
    when, accuracy = utc(token.token.gen_time_ns), duration(token.token.accuracy_ns)
    about = f"the checkpoint of size {token.checkpoint.head.size}, entry {token.line.index}"
    return f"  line {token.number}: time-stamp token of {when} ± {accuracy} over {about}"


def _token_json(token: DecodedToken) -> dict[str, Any]:
    return {
        "line": token.number,
        "time_ns": token.token.gen_time_ns,
        "accuracy_ns": token.token.accuracy_ns,
        "policy": token.token.policy,
        "size": token.checkpoint.head.size,
        "entry": token.line.index,
    }


def _serial(certificate: DecodedCertificate) -> str:
    return f"{certificate.chain[0].serial_number:x}"


def _certificate_json(certificate: DecodedCertificate) -> dict[str, Any]:
    found = validity(certificate.chain[0])
    return {
        "line": certificate.number,
        "device": certificate.device,
        "serial": _serial(certificate),
        "from_ns": found.from_ns,
        "to_ns": found.to_ns,
        "chain": len(certificate.chain),
    }


def _build_json(build: DecodedManifest | DecodedRebuild) -> dict[str, Any]:
    if isinstance(build, DecodedRebuild):
        statement, key = build.rebuild.statement, build.rebuild.envelope.key
        about = {"rebuilder": statement.rebuilder, "manifest": statement.manifest.hex()}
        return {"line": build.number, **about, "key_fingerprint": key.fingerprint}
    manifest = build.manifest.manifest
    builds = [
        {
            "name": made.name,
            "version": made.version,
            "source_commit": made.source_commit,
            "build_date": moment_text(made.build_date),
        }
        for made in manifest.builds
    ]
    about = {"builder": manifest.builder, "manifest": build.manifest.sha256.hex()}
    return {"line": build.number, **about, "key_fingerprint": build.manifest.envelope.key.fingerprint, "builds": builds}


def _epoch_json(signed: SignedStatement, signed_end: SignedEpochEnd | None) -> dict[str, Any]:
    statement = signed.statement
    return {
        "number": statement.number,
        "id": signed.epoch_id.hex(),
        "operator": statement.operator,
        "log_origin": statement.log_origin,
        "log_key_id": statement.log_key_id.hex(),
        "epoch_key": statement.epoch_key.hex(),
        "start_ns": statement.start_ns,
        "clock_daemon": statement.clock_daemon,
        "clock_correction_ns": statement.clock_correction_ns,
        "previous_ending": _ending(signed),
        "executable": statement.executable_hash.hex(),
        "plugin": statement.plugin_hash.hex(),
        "configuration": statement.configuration_hash.hex(),
        "manifest": statement.manifest_hash and statement.manifest_hash.hex(),
        "principal_source": statement.principal_source.name.lower().replace("_", "-"),
        "separated": statement.separated,
        "unmarked_paths": list(statement.unmarked_paths),
        "end": signed_end and {"time_ns": signed_end.end.time_ns, "last_sequence": signed_end.end.last_sequence},
    }


def _checkpoint_json(head: TreeHead | None) -> dict[str, Any] | None:
    return None if head is None else {"origin": head.origin, "size": head.size, "root": head.root.hex()}


def _message_json(message: DecodedMessage) -> dict[str, Any]:
    mark = message.mark.mark
    return {
        "line": message.number,
        "sequence": mark.sequence,
        "time_ns": mark.time_ns,
        "clock": mark.clock.state,
        "bound_ns": mark.clock.bound_ns,
        "topic": message.line.topic,
        "client_id": mark.client_id,
        "principal": mark.principal,
        "qos": mark.qos,
        "retain": mark.retain,
        "count": mark.count,
        "payload_bytes": None if message.line.payload is None else len(message.line.payload),
        "entry": message.line.index,
        "object_hash": message.mark.object_hash.hex(),
    }
