"""A registration by commands, as two people on two machines do it, of a real software TPM."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sigillo.attestation import software_tpm
from sigillo.attestation.attester import EK_CERTIFICATE
from sigillo.attestation.tpm import Tpm

from . import rig

Run = Callable[..., Any]


@dataclass
class Exchange:
    """Files of one exchange in *folder*; the TPM of *tpm* runs meanwhile. *run* runs a command that has to succeed."""

    run: Run
    folder: Path
    tpm: Path
    identity: str = "Example Broker"

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)

    @property
    def socket(self) -> Path:
        return software_tpm.socket_of(self.tpm)

    def file(self, name: str) -> Path:
        return self.folder / name

    @property
    def endorsement(self) -> str:
        """SHA-256 of the EK's SubjectPublicKeyInfo, as hex, from the certificate in the TPM."""
        data = Tpm(rig.link_to(self.tpm)).read_nv(EK_CERTIFICATE)
        assert data
        key = x509.load_der_x509_certificate(data).public_key()
        return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()

    def request_words(self) -> list[object]:
        issuer, _ = software_tpm.maker_certificates(self.tpm)
        return ["registrar", "request", "--tpm", self.socket, "--issuer", issuer, "-o", self.file("request.cbor")]

    def challenge_words(self, store: Path, *roots: Path) -> list[object]:
        """*roots*: folders of TPMs whose makers the registrar believes; this one's where there is none."""
        words: list[object] = ["registrar", "challenge", self.file("request.cbor"), "--store", store]
        words += ["--identity", self.identity, "-o", self.file("credential.cbor")]
        for number, folder in enumerate(roots or (self.tpm,)):
            words += ["--software-tpm-maker", f"swtpm {number}={software_tpm.maker_certificates(folder)[1]}"]
        return words

    def answer_words(self) -> list[object]:
        credential = self.file("credential.cbor")
        return ["registrar", "answer", credential, "--tpm", self.socket, "-o", self.file("answer.cbor")]

    def register_words(self, store: Path) -> list[object]:
        return ["registrar", "register", self.file("answer.cbor"), "--store", store, "-o", self.file("r.cbor")]

    def install_words(self, operator: Path) -> list[object]:
        return ["registrar", "install", operator, self.file("r.cbor"), "--tpm", self.socket]

    def register(self, store: Path, *roots: Path) -> Path:
        """The whole of it: the registration."""
        for words in (self.request_words(), self.challenge_words(store, *roots), self.answer_words()):
            self.run(*words)
        self.run(*self.register_words(store))
        return self.file("r.cbor")
