"""The folder of a local time-stamp authority: its root, its key, and the configuration for `openssl ts` (RFC 3161).

Keys and certificates are made here; tokens by OpenSSL, 3.0 (Debian 12) or later. Only the signing certificate goes into
a token, because OpenSSL 3.0 does not sort the set of them.
"""

from __future__ import annotations

import datetime
import secrets
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sigillo import disk
from sigillo.core.bytes import base64url_encode
from sigillo.core.errors import DecodeError
from sigillo.core.timestamp import TsaTrust
from sigillo.tsa.error import TsaError
from sigillo.x509 import key_usage, new_key, private_pem

POLICY: Final = "2.25.147697402822678280790476782539179269169"
"""Of tokens of local authorities, wherever they run: a UUID of our own (ITU-T X.667)."""

ROOT_NAME: Final = "Sigillo local TSA root, for demo and tests"
NAME: Final = "Sigillo local TSA, for demo and tests"
ORGANISATION: Final = "run by the operator itself, no third party"
PUBLISHED: Final = "tsa.toml"
CRL: Final = "root.crl"
"""Revocation list of its root (DER), with nothing on it; folders of older versions have none."""

_YEARS: Final = 10
_YEAR: Final = datetime.timedelta(days=365)
_DAY: Final = datetime.timedelta(days=1)
_PATIENCE_S: Final = 20.0
_CONFIGURATION: Final = f"""\
# For `openssl ts -reply`. The serial number's file is made anew for each token: a random number.
[tsa]
default_tsa = local
[local]
serial = $ENV::SIGILLO_TSA_SERIAL
crypto_device = builtin
signer_cert = $ENV::SIGILLO_TSA_FOLDER/tsa.cert.pem
signer_key = $ENV::SIGILLO_TSA_FOLDER/tsa.key.pem
signer_digest = sha256
default_policy = {POLICY}
other_policies = {POLICY}
digests = sha256, sha384, sha512
accuracy = secs:1
clock_precision_digits = 3
ordering = no
tsa_name = no
ess_cert_id_chain = no
ess_cert_id_alg = sha256
"""


@dataclass(frozen=True, slots=True)
class LocalTsa:
    """An authority that is ready. `root`: its root certificate, DER."""

    folder: Path
    openssl: str
    root: bytes

    @classmethod
    def open(cls, folder: Path, openssl: str | None = None) -> LocalTsa:
        """The authority in *folder*; made there where the folder is new or empty.

        *openssl*: the program; found where not given. Raises TsaError, OSError.
        """
        program = openssl or shutil.which("openssl")
        if program is None:
            raise TsaError("there is no program openssl; install it (Debian: apt install openssl)")
        if not folder.is_dir() or not any(folder.iterdir()):
            _create(folder)
        path = folder / "root.cert.pem"
        try:
            root = x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER)
            TsaTrust("local", (root,), (POLICY,))
        except (OSError, ValueError, DecodeError) as error:
            raise TsaError(f"{path}: is no root of a local time-stamp authority ({error}); name a new folder") from None
        return cls(folder.absolute(), program, root)

    @property
    def trust(self) -> TsaTrust:
        """What a policy pins that trusts this authority."""
        return TsaTrust("local", (self.root,), (POLICY,))

    @property
    def policy_table(self) -> str:
        """The lines of a policy that trust it (spec/policy.md)."""
        return (
            "# A local time-stamp authority, for demo and tests: whoever runs the broker runs this too, so it is no\n"
            "# third party, and no defence against that operator.\n"
            "[[tsa]]\n"
            'name = "local, run by the operator itself"\n'
            f'roots = ["{base64url_encode(self.root)}"]\n'
            f'policy = ["{POLICY}"]\n'
        )

    @property
    def crl(self) -> bytes | None:
        """Revocation list of its root, DER. Raises OSError."""
        path = self.folder / CRL
        return path.read_bytes() if path.exists() else None

    def reply(self, request: bytes) -> bytes:
        """TimeStampResp (DER) to a TimeStampReq (DER). Raises TsaError where OpenSSL makes none."""
        with tempfile.TemporaryDirectory(prefix="sigillo-tsa-") as work:
            serial = Path(work, "serial")
            serial.write_text(f"{secrets.randbits(127):032X}\n")
            query = Path(work, "query")
            query.write_bytes(request)
            command = [self.openssl, "ts", "-reply", "-config", str(self.folder / "openssl.cnf")]
            environment = {"SIGILLO_TSA_SERIAL": str(serial), "SIGILLO_TSA_FOLDER": str(self.folder)}
            try:
                done = subprocess.run(
                    [*command, "-queryfile", str(query)],
                    capture_output=True,
                    env=environment,
                    cwd=work,
                    timeout=_PATIENCE_S,
                    stdin=subprocess.DEVNULL,
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                raise TsaError(f"{self.openssl}: {error}") from None
        if done.returncode != 0 or not done.stdout:
            words = done.stderr.decode("utf-8", "replace").strip().replace("\n", "; ")
            raise TsaError(f"{self.openssl}: makes no token: {words[:300]}")
        return done.stdout


def _create(folder: Path) -> None:
    """Root, signing key, configuration and revocation list.

    The root's key is not kept: nothing else will ever be certified, and nothing revoked.
    """
    folder.mkdir(parents=True, mode=0o700, exist_ok=True)
    root_key, key = new_key(), new_key()
    root_name, name = _named(ROOT_NAME), _named(NAME)
    root = _certificate(root_name, root_key.public_key(), root_name, root_key, is_root=True)
    leaf = _certificate(name, key.public_key(), root_name, root_key, is_root=False)
    disk.create(folder / "tsa.key.pem", private_pem(key), disk.PRIVATE)
    disk.create(folder / "tsa.cert.pem", leaf.public_bytes(Encoding.PEM), disk.PUBLIC)
    disk.create(folder / CRL, _empty_crl(root_name, root_key), disk.PUBLIC)
    disk.create(folder / "openssl.cnf", _CONFIGURATION.encode(), disk.PUBLIC)
    disk.create(folder / "root.cert.pem", root.public_bytes(Encoding.PEM), disk.PUBLIC)


def _named(common_name: str) -> x509.Name:
    parts = ((NameOID.ORGANIZATION_NAME, ORGANISATION), (NameOID.COMMON_NAME, common_name))
    return x509.Name([x509.NameAttribute(kind, value) for kind, value in parts])


def _certificate(
    subject: x509.Name,
    key: EllipticCurvePublicKey,
    issuer: x509.Name,
    issuer_key: EllipticCurvePrivateKey,
    *,
    is_root: bool,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - _DAY).not_valid_after(now + _YEARS * _YEAR)
    constraints = x509.BasicConstraints(ca=is_root, path_length=0 if is_root else None)
    usage = key_usage(signs_certificates=is_root)
    builder = builder.add_extension(constraints, critical=True).add_extension(usage, critical=True)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key)
    builder = builder.add_extension(identifier, critical=False)
    if not is_root:
        uses = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
        issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
        builder = builder.add_extension(uses, critical=True).add_extension(issuer_id, critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _empty_crl(name: x509.Name, key: EllipticCurvePrivateKey) -> bytes:
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateRevocationListBuilder().issuer_name(name).last_update(now)
    builder = builder.next_update(now + _YEARS * _YEAR).add_extension(x509.CRLNumber(1), critical=False)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
    builder = builder.add_extension(identifier, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
