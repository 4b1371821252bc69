"""What TPMs, launchers and registrars said, as OpenSSL, tpm2-tools and sha256sum take it (spec/quote.md, launch.md).

The structures of a quote are those that the TPM gave; nothing is verified here.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.serialization import Encoding

from sigillo.core.attestation import encode_attestation
from sigillo.core.attestation_trust import AttestationTrust
from sigillo.core.bytes import hashed_bytes
from sigillo.core.decoded import (
    Decoded,
    DecodedAttestation,
    DecodedBootLog,
    DecodedClosure,
    DecodedEpoch,
    DecodedLaunchLog,
    DecodedMeasurements,
    DecodedRegistration,
    entry_of,
)
from sigillo.core.device_key import der_signature
from sigillo.core.endorsement import Registration, registrar_id, verify_endorsement
from sigillo.core.entry import encode_entry
from sigillo.core.errors import AttestationError, DecodeError
from sigillo.core.evidence_line import ConfigurationLine, NumberedLine
from sigillo.core.launch import encode_closure
from sigillo.core.quote import SELECTION
from sigillo.core.tpm import SHA256, decode_attestation_key, decode_signature, encode_selection, sized
from sigillo.report.closure_list import closure_list, named_keys
from sigillo.report.launch import logged_launches
from sigillo.report.signature_exhibit import Exhibit, ed25519_exhibit, key_exhibit, p256_spki, pem, pems

_BANKS, _DIGESTS = 16, 8  # TPM2_NUM_PCR_BANKS, and digests of a TPML_DIGEST, as libtss2 has them
_DIGEST_SIZE = 64


@dataclass(slots=True)
class AttestationExhibits:
    """Makes the exhibits of a file's lines about machines, which are given to it in their order.

    Closures wait for the configuration texts below them. It keeps where each epoch's launch log ends, for its quotes.
    """

    trust: AttestationTrust
    closures: list[DecodedClosure] = field(default_factory=list)
    texts: dict[bytes, frozenset[str]] = field(default_factory=dict)
    logs: dict[bytes, tuple[str, int]] = field(default_factory=dict)

    def of(self, decoded: Decoded) -> Iterator[Exhibit]:
        """The exhibits of a line; none where it is about something else."""
        if isinstance(decoded, DecodedRegistration):
            yield _of_registration(decoded, self.trust)
        elif isinstance(decoded, DecodedClosure):
            self.closures.append(decoded)
        elif isinstance(decoded, NumberedLine) and isinstance(decoded.line, ConfigurationLine):
            name, data = f"{decoded.number:06d}-configuration", decoded.line.text.encode()
            self.texts[hashlib.sha256(data).digest()] = named_keys(decoded.line.text)
            yield Exhibit(name, {".txt": data}, f"# {name}: its hash is in the list of a closure, with its name")
        elif isinstance(decoded, DecodedLaunchLog):
            yield from self._waiting()
            yield self._of_log(decoded)
        elif isinstance(decoded, DecodedBootLog):
            name = f"{decoded.number:06d}-boot"
            yield Exhibit(
                name, {".log": decoded.line.log}, f"# {name}: tpm2_eventlog replays it to PCR 0 to 9 of a quote"
            )
        elif isinstance(decoded, DecodedMeasurements):
            name = f"{decoded.number:06d}-measurements"
            yield Exhibit(
                name, {".ima": decoded.line.measurements}, f"# {name}: leads to PCR 10 of a quote (spec/ima.md)"
            )
        elif isinstance(decoded, DecodedEpoch):
            yield from self._waiting()
        elif isinstance(decoded, DecodedAttestation):
            yield self._of_quote(decoded)

    def _waiting(self) -> Iterator[Exhibit]:
        for decoded in self.closures:
            name, closure = f"{decoded.number:06d}-closure", decoded.closure
            files = {
                ".hashed": hashed_bytes("closure", encode_closure(closure)),
                ".sha256": closure_list(closure, self.texts),
            }
            yield Exhibit(name, files, f"# {name}: its hash is in the launches of a launch log")
        self.closures.clear()

    def _of_log(self, decoded: DecodedLaunchLog) -> Exhibit:
        name, epochs = f"{decoded.number:06d}-launch", logged_launches(decoded).epochs
        for epoch in epochs:
            self.logs.setdefault(epoch.epoch_id, (name, epoch.size))
        listed = "".join(f"{epoch.size} {epoch.number} {epoch.epoch_id.hex()}\n" for epoch in epochs)
        files = {".log": decoded.line.log, ".epochs": listed.encode()}
        return Exhibit(name, files, f"# {name}: leads to a PCR of the quotes of its epochs: tpm.sh")

    def _of_quote(self, decoded: DecodedAttestation) -> Exhibit:
        name, evidence = f"{decoded.number:06d}-quote", decoded.evidence
        key, (r, s) = decode_attestation_key(evidence.key_bytes), decode_signature(evidence.signature_bytes)
        qualifying = evidence.subject.qualifying_data.hex()
        files = {
            ".tbs": evidence.attest_bytes,
            ".sig": der_signature(r.to_bytes(32, "big") + s.to_bytes(32, "big")),
            ".tss": evidence.signature_bytes,
            ".pub.tss": sized(evidence.key_bytes),
            ".pcrs": pcr_file(evidence.pcrs),
            ".subject": evidence.subject.qualified_bytes,
            ".qualifying": f"{qualifying}\n".encode(),
            ".hashed": hashed_bytes("attestation-evidence", encode_attestation(evidence)),
        }
        entry = entry_of(decoded, decoded.line.epoch)
        files |= {".entry": encode_entry(entry)} if entry else {}
        exhibit = key_exhibit(name, files, p256_spki(key.x, key.y), digest=" -digest sha256")
        parts = f"-u {name}.pub.tss -m {name}.tbs -s {name}.tss -f {name}.pcrs"
        command = f"tpm2_checkquote -g sha256 {parts} -q {qualifying}"
        log, size = self.logs.get(evidence.subject.epoch_id, ("", 0))
        if log:
            command = f"head -c {size} {log}.log > launch.log && {command} -e launch.log"
        return Exhibit(exhibit.name, exhibit.files, exhibit.command, command)


def pcr_file(pcrs: Sequence[bytes]) -> bytes:
    """PCR 0 to 14 (32 bytes each) as `tpm2_quote --pcr` writes them and `tpm2_checkquote --pcr` reads them.

    Little-endian: TPML_PCR_SELECTION with room for 16 banks, then how many TPML_DIGEST follow, each of up to eight
    digests with room for 64 bytes.
    """
    bits = encode_selection(SELECTION)[-3:]
    selection = struct.pack("<IHB4sx", 1, SHA256, len(bits), bits) + bytes((_BANKS - 1) * 8)
    lists = [pcrs[start : start + _DIGESTS] for start in range(0, len(pcrs), _DIGESTS)]
    size = _DIGESTS * (2 + _DIGEST_SIZE)
    body = b"".join(struct.pack(f"<I{size}s", len(found), b"".join(map(_digest, found))) for found in lists)
    return selection + struct.pack("<I", len(lists)) + body


def _digest(value: bytes) -> bytes:
    return struct.pack(f"<H{_DIGEST_SIZE}s", len(value), value)


def _of_registration(decoded: DecodedRegistration, trust: AttestationTrust) -> Exhibit:
    """The registrar's signature, the key that it is about, and the chain of the EK under a maker of the policy."""
    name, signed = f"{decoded.number:06d}-registration", decoded.registration
    sign1, registration = signed.sign1, signed.registration
    registrar = next((found.key for found in trust.registrars if registrar_id(found.key) == sign1.kid), None)
    exhibit = ed25519_exhibit(name, sign1.signed_bytes(), sign1.signature, registrar, sign1.encode())
    files = {**exhibit.files, ".ak.pem": pem(p256_spki(registration.key.x, registration.key.y))}
    try:
        leaf, others = pems(registration.chain[:1]), pems(registration.chain[1:])
    except DecodeError as error:
        return Exhibit(name, files, f"{exhibit.command}\n# {name}: its chain cannot be read: {error.field}")
    files |= {".ek.pem": leaf} | ({".untrusted.pem": others} if others else {})
    root = _maker(registration, trust)
    if root is None:
        return Exhibit(name, files, f"{exhibit.command}\n# {name}: no policy was given that has the maker of its TPM")
    files[".ca.pem"] = root
    untrusted = f" -untrusted {name}.untrusted.pem" if others else ""
    # -ignore_critical: the subject alternative name of an EK is critical, and OpenSSL has no words for a TPM's model
    at = f"-attime {registration.time_ns // 10**9} -ignore_critical -partial_chain"
    return Exhibit(
        name, files, f"{exhibit.command}\nopenssl verify {at} -CAfile {name}.ca.pem{untrusted} {name}.ek.pem"
    )


def _maker(registration: Registration, trust: AttestationTrust) -> bytes | None:
    """The root of the first maker of the policy that certifies the EK, in PEM; else None."""
    for maker in trust.makers:
        try:
            verify_endorsement(registration.chain, maker)
        except (AttestationError, DecodeError):
            continue
        return maker.certificate.public_bytes(Encoding.PEM)
    return None
