"""Record what a real software TPM says, for the vectors: `python -m tests.vector.record_tpm`.

Its answers are never the same twice, so they are kept in `recorded/tpm.txt`, from which the vectors are made.
"""

import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sigillo.attestation import software_tpm
from sigillo.attestation.attester import Attester
from sigillo.core.quote import LAUNCH_PCR, Subject
from tests.attestation import rig
from tests.vector.file import Value, format_vector
from tests.vector.sample_tpm import CHALLENGED, CLOSING, LAUNCHES, OPENING, RECORDED


def record() -> dict[str, Value]:
    with tempfile.TemporaryDirectory() as temporary, rig.attester_of(rig.made(Path(temporary) / "tpm")) as opened:
        attester, tpm = opened
        issuer, root = (_der(path) for path in software_tpm.maker_certificates(Path(temporary) / "tpm"))
        fields: dict[str, Value] = {
            "root": root,
            "chain_1": attester.endorsement_certificate(),
            "chain_2": issuer,
            "key": attester.key.public_bytes,
        }
        for event in LAUNCHES:
            tpm.extend(LAUNCH_PCR, event.digest)
        for name, subject in (("opening", OPENING), ("closing", CLOSING), ("challenged", CHALLENGED)):
            fields |= _quoted(attester, name, subject)
        return fields


def _quoted(attester: Attester, name: str, subject: Subject) -> dict[str, Value]:
    evidence = attester.quote(subject)
    pcrs: dict[str, Value] = {f"{name}_pcr_{index}": value for index, value in enumerate(evidence.pcrs)}
    return {f"{name}_quote": evidence.attest_bytes, f"{name}_signature": evidence.signature_bytes, **pcrs}


def _der(path: Path) -> bytes:
    return x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER)


if __name__ == "__main__":
    RECORDED.parent.mkdir(exist_ok=True)
    RECORDED.write_text(format_vector(record()), encoding="utf-8")
