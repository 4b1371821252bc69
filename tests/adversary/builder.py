"""A builder and rebuilders in memory: fixed keys, a manifest of two builds, statements about it."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

from sigillo.core.canonical import canonical
from sigillo.core.dsse import DsseKey, encode_envelope
from sigillo.core.manifest import (
    Build,
    ClosureFile,
    Manifest,
    Output,
    Package,
    Role,
    Root,
    SignedManifest,
    Source,
    SourceFile,
    decode_manifest,
    encode_manifest,
)
from sigillo.core.rebuild import RebuildStatement, Rebuilt, compare, encode_rebuild

from .device import ed25519_key

BUILT = 1_748_471_978


def sha256(name: str) -> bytes:
    """A hash that anybody can make again."""
    return hashlib.sha256(name.encode()).digest()


def dsse_key(seed: str) -> DsseKey:
    return DsseKey(ed25519_key(seed).public_key().public_bytes_raw())


ROOT = Root(
    "debian",
    "bookworm",
    "amd64",
    (
        Package("cmake", "3.25.1-1", "amd64", sha256("cmake")),
        Package("libssl-dev", "3.0.17-1~deb12u2", "amd64", sha256("libssl-dev")),
    ),
)
MOSQUITTO = Build(
    name="mosquitto",
    version="2.0.11-1.2+deb12u2",
    recipe='name = "mosquitto"\n[source]\nkind = "debian"\n',
    recipe_files={"keys/signer.asc": b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n"},
    source=Source(
        "debian",
        "CCB683D5A8C96A9748F667210EA6A8DFEBFF9A78",
        (
            SourceFile("mosquitto_2.0.11-1.2+deb12u2.dsc", 2_500, sha256("dsc")),
            SourceFile("mosquitto_2.0.11.orig.tar.gz", 761_000, sha256("orig")),
        ),
    ),
    source_commit=f"dsc:sha256:{sha256('dsc').hex()}",
    build_date=BUILT,
    root=ROOT,
    path="/build/reproducible-path/mosquitto-2.0.11",
    environment={"DEB_BUILD_OPTIONS": "nocheck parallel=2", "LC_ALL": "C.UTF-8", "SOURCE_DATE_EPOCH": str(BUILT)},
    steps=("dpkg-source -x ../*.dsc .", "dpkg-buildpackage -b -us -uc"),
    outputs=(
        Output("mosquitto_2.0.11-1.2+deb12u2_amd64.deb", Role.PACKAGE, 240_000, sha256("deb")),
        Output("usr/sbin/mosquitto", Role.EXECUTABLE, 306_000, sha256("executable")),
    ),
)
PLUGIN = Build(
    name="sigillo-plugin",
    version="0.1.0",
    recipe='name = "sigillo-plugin"\n[source]\nkind = "tarball"\n',
    source=Source(
        "tarball",
        "SHA256:p1lRWkqVvVxA0vMO0Vw3v5yqFQy9kqQkJ0h7nZb0Y2E",
        (SourceFile("sigillo-0.1.0.tar", 900_000, sha256("tarball")),),
    ),
    source_commit=f"tar:sha256:{sha256('tarball').hex()}",
    build_date=BUILT + 86_400,
    root=ROOT,
    path="/build/sigillo-0.1.0",
    environment={"SOURCE_DATE_EPOCH": str(BUILT + 86_400)},
    steps=("make -C plugin",),
    outputs=(Output("sigillo.so", Role.PLUGIN, 90_000, sha256("plugin")),),
)
CLOSURE = (
    ClosureFile("/lib64/ld-linux-x86-64.so.2", 210_000, sha256("loader"), "libc6", "2.36-9+deb12u13"),
    ClosureFile("/usr/lib/x86_64-linux-gnu/libssl.so.3", 690_000, sha256("libssl"), "libssl3", "3.0.17-1~deb12u2"),
)
MANIFEST = Manifest("Example Builder", (MOSQUITTO, PLUGIN), CLOSURE)


def manifest_of(executable: bytes, plugin: bytes) -> Manifest:
    """The manifest, with these hashes for the two programs."""
    hashes = {Role.EXECUTABLE: executable, Role.PLUGIN: plugin}
    builds = (
        dataclasses.replace(
            build,
            outputs=tuple(
                dataclasses.replace(output, sha256=hashes.get(output.role, output.sha256)) for output in build.outputs
            ),
        )
        for build in MANIFEST.builds
    )
    return dataclasses.replace(MANIFEST, builds=tuple(builds))


def signed_manifest(manifest: Manifest = MANIFEST, seed: str = "builder") -> bytes:
    return encode_manifest(manifest, dsse_key(seed), ed25519_key(seed).sign)


def statement_about(signed: SignedManifest, name: str = "Example Rebuilder", **other: bytes | None) -> RebuildStatement:
    """A statement that all was reproduced, but the outputs of the roles in *other*: with this hash, or missing."""
    builds = []
    for build in signed.manifest.builds:
        outputs = []
        for output in build.outputs:
            made = other.get(output.role, output.sha256)
            outputs.append(compare(output, None if made is None else output.size, made))
        builds.append(Rebuilt(build.name, tuple(outputs)))
    return RebuildStatement(name, signed.sha256, BUILT + 10**7, tuple(builds))


def signed_statement(manifest: bytes, name: str = "Example Rebuilder", seed: str = "rebuilder", **other: Any) -> bytes:
    statement = statement_about(decode_manifest(manifest), name, **other)
    return encode_rebuild(statement, dsse_key(seed), ed25519_key(seed).sign)


def enveloped(kind: str, value: dict[str, Any], seed: str) -> bytes:
    """Any JSON object, validly signed: what no honest encoder writes."""
    return encode_envelope(kind, canonical(value), dsse_key(seed), ed25519_key(seed).sign)
