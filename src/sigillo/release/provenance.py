"""Provenance for stock tools: an in-toto Statement with SLSA provenance, in a Sigstore bundle (spec/release.md).

It repeats what the build manifest says; no verdict of `sigillo verify` rests on it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner  # type: ignore[attr-defined]  # in its __all__

from sigillo.core import der
from sigillo.core.bytes import base64_encode
from sigillo.core.canonical import encode_object
from sigillo.core.manifest import Build, SignedManifest

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT: Final = "https://in-toto.io/Statement/v1"
PREDICATE: Final = "https://slsa.dev/provenance/v1"
BUILD_TYPE: Final = "urn:sigillo:build:1"
_BUNDLE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
_GRANTED: Final = bytes.fromhex("3003020100")

Stamp = Callable[[bytes], bytes]
"""A time-stamp token (DER) over these bytes."""


def provenance(signed: SignedManifest, build: Build) -> dict[str, Any]:
    """The statement about the outputs of one build."""
    definition = {
        "buildType": BUILD_TYPE,
        "externalParameters": {
            "name": build.name,
            "version": build.version,
            "source": build.source_commit,
            "recipe": {"sha256": hashlib.sha256(build.recipe.encode()).hexdigest()},
        },
        "internalParameters": {
            "environment": dict(build.environment),
            "path": build.path,
            "steps": list(build.steps),
        },
        "resolvedDependencies": list(_dependencies(build)),
    }
    run = {
        "builder": {"id": f"urn:sigillo:builder:{signed.envelope.key.fingerprint}"},
        "metadata": {"invocationId": f"urn:sigillo:manifest:{signed.sha256.hex()}"},
        "byproducts": [{"name": "manifest.json", "digest": {"sha256": signed.sha256.hex()}}],
    }
    return {
        "_type": STATEMENT,
        "subject": [{"name": output.name, "digest": {"sha256": output.sha256.hex()}} for output in build.outputs],
        "predicateType": PREDICATE,
        "predicate": {"buildDefinition": definition, "runDetails": run},
    }


def _dependencies(build: Build) -> Iterator[dict[str, Any]]:
    if build.source.kind == "git":
        yield {"name": build.name, "digest": {"gitCommit": build.source_commit}}
    for file in build.source.files:
        yield {"name": file.name, "digest": {"sha256": file.sha256.hex()}}
    for package in build.root.packages:
        uri = f"pkg:deb/{build.root.distribution}/{package.name}@{package.version}?arch={package.architecture}"
        yield {"uri": uri, "digest": {"sha256": package.sha256.hex()}}


def bundle(statement: dict[str, Any], key: Ed25519PrivateKey, hint: str, stamp: Stamp | None) -> bytes:
    """The signed statement as a Sigstore bundle. *hint*: how a verifier finds the key; *stamp*: of the signature."""
    envelope = Envelope(encode_object(statement, "provenance"), PAYLOAD_TYPE, {})
    signature = bytes.fromhex(envelope.sign(CryptoSigner(key)).signature)
    material: dict[str, Any] = {"publicKey": {"hint": hint}, "tlogEntries": []}
    if stamp:
        response = der.encode(der.SEQUENCE, _GRANTED, stamp(signature))
        material["timestampVerificationData"] = {"rfc3161Timestamps": [{"signedTimestamp": base64_encode(response)}]}
    value = {
        "mediaType": _BUNDLE,
        "verificationMaterial": material,
        "dsseEnvelope": {
            "payload": base64_encode(envelope.payload),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": base64_encode(signature), "keyid": ""}],
        },
    }
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()
