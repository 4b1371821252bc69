"""The signed bytes of an evidence file, written out so that stock tools can verify them without Sigillo.

Each signature becomes one exhibit: the bytes that are signed, the signature as OpenSSL reads it, and the public key
where it is known. An epoch key comes from the file; the log key and the device keys are the reader's, from a policy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cryptography.hazmat.primitives.serialization import Encoding

from sigillo.core.attestation_trust import AttestationTrust
from sigillo.core.build_trust import BuilderTrust, BuildTrust
from sigillo.core.bytes import base64_encode
from sigillo.core.certificate import signing_key
from sigillo.core.checkpoint import SignedCheckpoint, encode_checkpoint
from sigillo.core.cosignature import WitnessKeyType, cosigned_bytes
from sigillo.core.decoded import (
    DecodedCertificate,
    DecodedCheckpoint,
    DecodedEnd,
    DecodedEpoch,
    DecodedManifest,
    DecodedMessage,
    DecodedRebuild,
    DecodedToken,
    DecodedTrailer,
    decode_objects,
    entry_of,
    subtrees,
)
from sigillo.core.device_key import DeviceKey, der_signature
from sigillo.core.dsse import Envelope, signed_bytes
from sigillo.core.entry import encode_entry
from sigillo.core.epoch import SignedStatement
from sigillo.core.errors import DecodeError, MerkleError, SignatureError
from sigillo.core.mark import committed_bytes
from sigillo.core.merkle import CompactRange, consistency_proof, decompose, inclusion_proof
from sigillo.core.message import DeviceMessage, decode_device_message
from sigillo.core.note import LogKey
from sigillo.core.policy import Policy
from sigillo.core.proof import EntryProof, encode_proof
from sigillo.core.reading import Reading
from sigillo.core.timestamp import TsaTrust, verify_token
from sigillo.report.exhibit_attestation import AttestationExhibits
from sigillo.report.signature_exhibit import Exhibit, ed25519_exhibit, key_exhibit, pems

_TIME_SIZE = 8  # of a cosignature
README = """\
What is here, for each signature in the evidence file (the number is that of its line there):

  NAME.tbs       the bytes that are signed
  NAME.sig       the signature: Ed25519 as it is, ECDSA P-256 as DER (64 bytes as sent where the key is not known)
  NAME.pub.pem   the public key, where it is known
  NAME.cose      the whole COSE object, where there is one
  NAME.note      the log's checkpoint, as a signed note; what a time-stamp token is about
  NAME.tst       a time-stamp token (RFC 3161), with NAME.ca.pem, the roots of its TSA, and NAME.untrusted.pem
  NAME.tlog-proof  that the log has this mark, of the first message (c2sp.org/tlog-proof)
  NAME.consistency  that the tree of a token's note is the beginning of the file's (RFC 9162), of two tokens
  NAME.hashed    the bytes whose SHA-256 is the object hash: of a statement the epoch id
  NAME.committed the bytes whose SHA-256 is the payload commitment of a mark
  NAME.entry     the 45 bytes that the log has of a mark; they end with its object hash
  NAME.text      the text of a checkpoint: its SHA-256 is what devices sign as their beacon
  NAME.dsse.json a build manifest or rebuild statement, as its maker published it
  NAME.cert.pem  a certificate of a device's key, with NAME.untrusted.pem above it and NAME.ca.pem, its maker's CA
  NAME.tss       of a quote, the signature as the TPM gave it; NAME.pub.tss the attestation key; NAME.pcrs the PCR
                 values as tpm2_checkquote reads them; NAME.subject the bytes whose SHA-256, NAME.qualifying, the TPM
                 signed with it
  NAME.log       a launch log or a boot log, for tpm2_eventlog; NAME.epochs: up to which byte a launch log is that of
                 which epoch; NAME.ima a measurement list of Linux
  NAME.sha256    the files of a closure, as sha256sum -c reads them on the operator's machine
  NAME.txt       a file of the configuration
  NAME.ek.pem    of a registration, the certificate of the TPM's EK; NAME.ak.pem the attestation key that it is about

Epoch keys are those that the file itself names: they count for no more than the countersignature of the statement that
names them. The log key, the keys of the devices, the CAs of their makers, the roots of TSAs, and the keys of witnesses,
builders and rebuilders come from the policy; without one they are absent. A certificate is verified for each message of
its device, at the time of the mark.

  sh commands.sh     runs every line of commands.sh; OpenSSL 3.0 or later; stops at the first signature that is wrong
  sh tpm.sh          the same of tpm.sh, for each quote, where there is one: tpm2-tools 5.4 or later

A P-256 signature needs -digest sha256; an Ed25519 one must not have it.
docs/verify-by-hand.md goes through all of it, one link after the other.
"""


def exhibits(lines: Iterable[bytes], policy: Policy | None) -> Iterator[Exhibit]:
    """The signatures of an evidence file (lines without LF), in its order; a stream. Raises DecodeError."""
    epoch_number, epoch_key, log_key = 0, b"", None
    certificates: _Certificates = {}
    machine = AttestationExhibits(policy.attestation if policy else AttestationTrust())
    for decoded in decode_objects(lines):
        yield from machine.of(decoded)
        if isinstance(decoded, DecodedCertificate):
            yield from _of_certificate(decoded, policy, certificates)
        elif isinstance(decoded, DecodedManifest):
            envelope, build = decoded.manifest.envelope, policy.build if policy else BuildTrust()
            yield _of_envelope(f"{decoded.number:06d}-manifest", envelope, build.builder(envelope.key))
        elif isinstance(decoded, DecodedRebuild):
            envelope, build = decoded.rebuild.envelope, policy.build if policy else BuildTrust()
            yield _of_envelope(f"{decoded.number:06d}-rebuild", envelope, build.rebuilder(envelope.key))
        elif isinstance(decoded, DecodedCheckpoint):
            name = f"{decoded.number:06d}-beacon"
            yield Exhibit(
                name, {".text": decoded.line.note.encode("utf-8")}, f"# {name}: is signed by devices, as its hash"
            )
        elif isinstance(decoded, DecodedEpoch):
            statement = decoded.statement.statement
            epoch_number, epoch_key, log_key = (
                statement.number,
                statement.epoch_key,
                _log_key(decoded.statement, policy),
            )
            yield from _of_epoch(decoded, log_key)
        elif isinstance(decoded, DecodedEnd):
            name, end = f"{decoded.number:06d}-end", decoded.end.sign1
            yield ed25519_exhibit(name, end.signed_bytes(), end.signature, epoch_key, end.encode())
        elif isinstance(decoded, DecodedMessage):
            yield _of_mark(decoded, epoch_number, epoch_key)
            if decoded.line.payload is not None:
                yield _of_device(decoded, decoded.line.payload, policy, certificates)
        elif isinstance(decoded, DecodedToken):
            yield _of_token(decoded, policy)
        elif isinstance(decoded, DecodedTrailer) and decoded.checkpoint:
            yield from _of_checkpoint(decoded.number, decoded.checkpoint, log_key)
            yield from _of_witnesses(decoded.number, decoded.checkpoint, policy)


_Certificates = dict[str, list[tuple[DeviceKey, str]]]
"""By device: the key of each of its certificates, and the `openssl verify` that says who certifies it."""


def _of_certificate(
    decoded: DecodedCertificate, policy: Policy | None, certificates: _Certificates
) -> Iterator[Exhibit]:
    """The chain of a certificate whose CA the policy has; remembers its key for the messages."""
    name, device = f"{decoded.number:06d}-certificate", policy.device(decoded.device) if policy else None
    if device is None or device.maker is None:
        return
    leaf, *others = (certificate.public_bytes(Encoding.PEM) for certificate in decoded.chain)
    files = {".cert.pem": leaf, ".ca.pem": device.maker.ca.public_bytes(Encoding.PEM)}
    files |= {".untrusted.pem": b"".join(others)} if others else {}
    untrusted = f" -untrusted {name}.untrusted.pem" if others else ""
    verify = f"-partial_chain -CAfile {name}.ca.pem{untrusted} {name}.cert.pem"
    try:
        certificates.setdefault(device.id, []).append((signing_key(decoded.chain[0]), verify))
    except SignatureError as error:
        yield Exhibit(name, files, f"# {name}: {error.reason}")
    else:
        yield Exhibit(name, files, f"# {name}: verified with each message of its key, at the time of the mark")


def message_proof(lines: Iterable[bytes], message: DecodedMessage, checkpoint: SignedCheckpoint) -> bytes | None:
    """The proof that the log has this message's mark, as text (spec/tlog-proof.md); *lines*: of its file, once more.

    None where the file's own proof does not give it. Raises DecodeError.
    """
    index, size = message.line.index, checkpoint.head.size
    held = None if index is None else _held(lines, index, index + 1, size)
    if index is None or held is None:
        return None
    path = inclusion_proof(index, size, lambda level, at: held[level, at])
    return encode_proof(EntryProof(index, tuple(path), checkpoint))


def token_consistency(lines: Iterable[bytes], token: DecodedToken, checkpoint: SignedCheckpoint) -> bytes | None:
    """The proof that the checkpoint of a token is a prefix of the file's, a hash in base64 a line; *lines*: once more.

    None where the file's own proof does not give it. Raises DecodeError.
    """
    old_size, size = token.checkpoint.head.size, checkpoint.head.size
    held = _held(lines, old_size, old_size, size)
    if held is None:
        return None
    proof = consistency_proof(old_size, size, lambda level, at: held[level, at])
    return "".join(f"{base64_encode(item)}\n" for item in proof).encode("ascii")


def _held(lines: Iterable[bytes], begin: int, end: int, size: int) -> dict[tuple[int, int], bytes] | None:
    """The subtrees of the log before *begin* and from *end* to *size*; None where the file does not show them."""
    before, between, after = CompactRange(), CompactRange(begin), CompactRange(end)
    try:
        for level, subtree_hash in subtrees(decode_objects(lines)):
            part = before if before.end < begin else between if between.end < end else after
            part.append_subtree(level, subtree_hash)
    except MerkleError:
        return None
    if (before.end, between.end, after.end) != (begin, end, size):
        return None
    held = dict(zip(decompose(0, begin), before.hashes, strict=True))
    return held | dict(zip(decompose(end, size), after.hashes, strict=True))


def _log_key(signed: SignedStatement, policy: Policy | None) -> LogKey | None:
    """The log key that the policy pins for the countersignature of the statement."""
    operator = policy.operator(signed.countersignature.key_id) if policy and signed.countersignature else None
    return operator.log_key if operator else None


def _of_checkpoint(number: int, checkpoint: SignedCheckpoint, log_key: LogKey | None) -> Iterator[Exhibit]:
    """The note as it is, and each Ed25519 signature on it that could be the log's."""
    note = checkpoint.note
    name = f"{number:06d}-checkpoint"
    own = note.signature_of(log_key.name, log_key.note_key_id) if log_key else None
    signature = note.signatures[0].signature if own is None else own
    key = log_key.public_key if log_key and own is not None else None
    exhibit = ed25519_exhibit(name, note.text.encode("utf-8"), signature, key)
    yield Exhibit(name, {**exhibit.files, ".note": encode_checkpoint(checkpoint)}, exhibit.command)


def _of_token(decoded: DecodedToken, policy: Policy | None) -> Exhibit:
    """The token, what it is about, and the roots of the first TSA of the policy under which it verifies."""
    name, line = f"{decoded.number:06d}-token", decoded.line
    files = {".tst": line.token, ".note": line.note.encode("utf-8")}
    trusted = next((tsa for tsa in (policy.tsas if policy else ()) if _is_by(decoded, tsa)), None)
    if trusted is None:
        return Exhibit(name, files, f"# {name}: no policy was given that has its TSA")
    files[".ca.pem"] = pems(trusted.roots)
    files |= {".untrusted.pem": pems(line.chain)} if line.chain else {}
    untrusted = f" -untrusted {name}.untrusted.pem" if line.chain else ""
    at = f"-attime {decoded.token.gen_time_ns // 10**9}"
    command = f"openssl ts -verify {at} -data {name}.note -in {name}.tst -token_in -CAfile {name}.ca.pem{untrusted}"
    return Exhibit(name, files, command)


def _is_by(decoded: DecodedToken, tsa: TsaTrust) -> bool:
    try:
        line = decoded.line
        verify_token(line.token, line.note.encode("utf-8"), tsa, line.chain, line.crls)
    except SignatureError:
        return False
    return True


def _of_witnesses(number: int, checkpoint: SignedCheckpoint, policy: Policy | None) -> Iterator[Exhibit]:
    """The cosignatures of the policy's witnesses; OpenSSL knows those of type 4."""
    for at, witness in enumerate(policy.witnesses if policy else (), start=1):
        raw = checkpoint.note.signature_of(witness.key.name, witness.key.note_key_id)
        name = f"{number:06d}-cosignature-{at}"
        if raw is None or len(raw) <= _TIME_SIZE:
            continue
        if witness.key.type is not WitnessKeyType.ED25519:
            yield Exhibit(name, {}, f"# {name}: is of a type that OpenSSL 3.0 does not know")
            continue
        time_s = int.from_bytes(raw[:_TIME_SIZE], "big")
        try:
            signed = cosigned_bytes(checkpoint.note.text, witness.key, time_s)
        except DecodeError as error:
            yield Exhibit(name, {}, f"# {name}: {error.reason}")
            continue
        yield ed25519_exhibit(name, signed, raw[_TIME_SIZE:], witness.key.public_key)


def _of_epoch(decoded: DecodedEpoch, log_key: LogKey | None) -> Iterator[Exhibit]:
    name, signed = f"{decoded.number:06d}", decoded.statement
    statement, sign1 = signed.statement, signed.sign1
    whole = sign1.encode()
    exhibit = ed25519_exhibit(f"{name}-statement", sign1.signed_bytes(), sign1.signature, statement.epoch_key, whole)
    yield Exhibit(exhibit.name, {**exhibit.files, ".hashed": sign1.hashed_bytes()}, exhibit.command)
    if signed.countersignature:
        signature, key = signed.countersignature.signature, log_key.public_key if log_key else None
        yield ed25519_exhibit(f"{name}-countersignature", signed.countersigned_bytes(), signature, key)


def _of_mark(decoded: DecodedMessage, epoch: int, epoch_key: bytes) -> Exhibit:
    """The mark, and what it is known by: its object hash, its entry in the log, and the payload that it commits to."""
    signed, line = decoded.mark, decoded.line
    sign1, name = signed.sign1, f"{decoded.number:06d}-mark"
    exhibit = ed25519_exhibit(name, sign1.signed_bytes(), sign1.signature, epoch_key, line.mark)
    files = {**exhibit.files, ".hashed": sign1.hashed_bytes()}
    entry = entry_of(decoded, epoch)
    if line.index is not None and entry:
        files[".entry"] = encode_entry(entry)
    if signed.salt is not None and line.payload is not None:
        files[".committed"] = committed_bytes(signed.salt, line.payload)
    return Exhibit(name, files, exhibit.command)


def _of_envelope(name: str, envelope: Envelope, party: BuilderTrust | None) -> Exhibit:
    """A DSSE envelope whose key the policy has, or has not."""
    signed = signed_bytes(envelope.kind, envelope.payload)
    exhibit = ed25519_exhibit(name, signed, envelope.signature, party.key.raw if party else None)
    return Exhibit(name, {**exhibit.files, ".dsse.json": envelope.data}, exhibit.command)


def _of_device(decoded: DecodedMessage, payload: bytes, policy: Policy | None, certificates: _Certificates) -> Exhibit:
    name, line, mark = f"{decoded.number:06d}-device", decoded.line, decoded.mark.mark
    try:
        message = decode_device_message(payload, line.topic)
    except DecodeError:
        return Exhibit(name, {}, f"# {name}: the payload is no signed device message")
    device = policy.device(mark.principal) if policy else None
    key, certified_by = device.key if device else None, ""
    if device and key is None:
        key, certified_by = _certified(message, certificates.get(device.id, []))
    files = {".tbs": message.signed_bytes, ".sig": message.signature}
    if isinstance(message, Reading):
        files[".cose"] = payload
    if key and key.kind == "p256":
        files[".sig"] = der_signature(message.signature)
    exhibit = key_exhibit(
        name, files, key.spki if key else None, digest=" -digest sha256" if key and key.kind == "p256" else ""
    )
    if not certified_by:
        return exhibit
    at_mark = f"openssl verify -attime {mark.time_ns // 10**9} {certified_by}"
    return Exhibit(exhibit.name, exhibit.files, f"{exhibit.command}\n{at_mark}")


def _certified(message: DeviceMessage, certificates: list[tuple[DeviceKey, str]]) -> tuple[DeviceKey | None, str]:
    """The certified key that the signature verifies under, and who certifies it; else the first there is."""
    for key, verify in certificates:
        try:
            key.verify(message.signature, message.signed_bytes)
        except SignatureError:
            continue
        return key, verify
    return certificates[0] if certificates else (None, "")
