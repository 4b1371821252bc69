"""A second opinion on manifests and rebuild statements: a DSSE library that we did not write."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

from ..adversary.builder import dsse_key, signed_manifest, signed_statement

FILES: dict[str, Callable[[], bytes]] = {
    "builder": signed_manifest,
    "rebuilder": lambda: signed_statement(signed_manifest()),
}


@pytest.mark.parametrize("seed", FILES)
def test_securesystemslib_accepts_what_we_sign_and_refuses_it_altered(seed: str) -> None:
    value = json.loads(FILES[seed]())
    raw = dsse_key(seed).raw
    key = SSlibKey.from_crypto(Ed25519PublicKey.from_public_bytes(raw), keyid=raw.hex())
    assert Envelope.from_dict(json.loads(json.dumps(value))).verify([key], 1) == {raw.hex(): key}
    for altered in (
        {**value, "payloadType": "application/vnd.in-toto+json"},
        {**value, "payload": value["payload"][:-8] + "AAAAAAA="},
    ):
        with pytest.raises(VerificationError):
            Envelope.from_dict(json.loads(json.dumps(altered))).verify([key], 1)
