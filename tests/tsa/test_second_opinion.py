"""Two authorities that we did not write, and two verifiers: all agree on what counts and what does not."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from asn1crypto import cms
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from rfc3161_client import VerificationError, VerifierBuilder, decode_timestamp_response

from sigillo.core.checkpoint import TreeHead, encode_checkpoint, sign_checkpoint
from sigillo.core.errors import SignatureError
from sigillo.core.timestamp import TsaTrust, verify_token
from sigillo.log.timestamper import TsaAddress, obtain
from sigillo.tsa.folder import LocalTsa
from sigillo.tsa.server import TsaServer

from ..adversary.tsa_server import response
from ..vector.key import LOG, filler
from ..vector.sample import LOG_KEY
from .certomancer_tsa import certomancer
from .local import running

NOTE = encode_checkpoint(sign_checkpoint(TreeHead(LOG_KEY.name, 4711, filler("root")), LOG_KEY, LOG.sign))
OTHER_NOTE = encode_checkpoint(sign_checkpoint(TreeHead(LOG_KEY.name, 4712, filler("root")), LOG_KEY, LOG.sign))


@dataclass(frozen=True)
class Stamped:
    """A token of an authority over NOTE, and what a policy pins of that authority."""

    token: bytes
    trust: TsaTrust


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Stamped]]:
    local = LocalTsa.open(tmp_path_factory.mktemp("tsa") / "tsa")
    with (
        running(TsaServer("127.0.0.1:0", local)) as url,
        certomancer(tmp_path_factory.mktemp("certomancer")) as (other_url, trust),
    ):
        first, _ = obtain(TsaAddress("local", url, local.trust.roots), NOTE)
        second, _ = obtain(TsaAddress("certomancer", other_url, trust.roots), NOTE)
        yield {"openssl": Stamped(first, local.trust), "certomancer": Stamped(second, trust)}


def we_accept(token: bytes, note: bytes, trust: TsaTrust, _folder: Path) -> bool:
    try:
        verify_token(token, note, trust)
    except SignatureError:
        return False
    return True


def openssl_accepts(token: bytes, note: bytes, trust: TsaTrust, folder: Path) -> bool:
    (folder / "token").write_bytes(token)
    (folder / "note").write_bytes(note)
    root = x509.load_der_x509_certificate(trust.roots[0])
    (folder / "root.pem").write_bytes(root.public_bytes(Encoding.PEM))
    command = ["openssl", "ts", "-verify", "-token_in", "-in", "token", "-data", "note", "-CAfile", "root.pem"]
    return subprocess.run(command, cwd=folder, capture_output=True, timeout=60).returncode == 0


def client_accepts(token: bytes, note: bytes, trust: TsaTrust, _folder: Path) -> bool:
    try:
        root = x509.load_der_x509_certificate(trust.roots[0])
        builder = VerifierBuilder(roots=[root], policy_id=x509.ObjectIdentifier(trust.policies[0]))
        return builder.build().verify_message(decode_timestamp_response(response(token)), note)
    except (VerificationError, ValueError):
        return False


def what_is_signed(token: bytes) -> list[int]:
    """The bytes of a token that say what is attested, those that are signed, and the signature."""
    signed = cms.ContentInfo.load(token)["content"]
    (signer,) = signed["signer_infos"]
    attributes = signer["signed_attrs"].dump()[2:]  # without its tag, which is another where it is signed
    parts = (signed["encap_content_info"]["content"].contents, attributes, signer["signature"].native)
    begins = [token.index(part) for part in parts]
    return [at for begin, part in zip(begins, parts, strict=True) for at in range(begin, begin + len(part))]


VERIFIERS = {"we": we_accept, "openssl ts": openssl_accepts, "rfc3161-client": client_accepts}


@pytest.mark.parametrize("verifier", VERIFIERS)
@pytest.mark.parametrize("made_by", ["openssl", "certomancer"])
def test_all_accept_it_and_refuse_it_altered(
    made_by: str, verifier: str, tokens: dict[str, Stamped], tmp_path: Path
) -> None:
    accepts = VERIFIERS[verifier]
    stamped = tokens[made_by]
    (other,) = (found for name, found in tokens.items() if name != made_by)
    assert accepts(stamped.token, NOTE, stamped.trust, tmp_path)
    assert not accepts(stamped.token, OTHER_NOTE, stamped.trust, tmp_path)
    assert not accepts(stamped.token, NOTE + b"\n", stamped.trust, tmp_path)
    assert not accepts(stamped.token, NOTE, other.trust, tmp_path)
    whole = range(len(stamped.token))
    places = whole if verifier == "we" else what_is_signed(stamped.token)  # the others are laxer about the rest
    for at in places[:: {"we": 1, "openssl ts": 41, "rfc3161-client": 1}[verifier]]:
        altered = bytearray(stamped.token)
        altered[at] ^= 1 << at % 8
        assert not accepts(bytes(altered), NOTE, stamped.trust, tmp_path), f"byte {at}"
