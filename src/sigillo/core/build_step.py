"""Step 12 of spec/verification.md: what ran is what the policy, or a build manifest that it believes, says.

Manifests and rebuild statements stand above the epochs of a file; `Builds` keeps of them what the epochs need.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from sigillo.core.build_trust import BuilderTrust, BuildTrust
from sigillo.core.dsse import Envelope, verify_envelope
from sigillo.core.errors import DecodeError, SignatureError, VerificationError
from sigillo.core.manifest import Manifest, Role, SignedManifest
from sigillo.core.policy import BUILD_PARTS
from sigillo.core.rebuild import SignedRebuild, reproduced
from sigillo.core.trusted import MADE_BY_VERIFY, SelfSignedManifest, SelfSignedRebuild, VerifiedStatement
from sigillo.core.verdict import BuiltBy

_BUILT: Final = {"executable": Role.EXECUTABLE, "plugin": Role.PLUGIN}


@dataclass(slots=True)
class Builds:
    """The manifests of a file by their hash, and the rebuild statements about them."""

    manifests: dict[bytes, SelfSignedManifest] = field(default_factory=dict)
    rebuilds: list[SelfSignedRebuild] = field(default_factory=list)

    def named(self, manifest_hash: bytes | None) -> SelfSignedManifest | None:
        """The manifest of this hash, where the file has it."""
        return self.manifests.get(manifest_hash) if manifest_hash else None

    def believed(self, manifest_hash: bytes | None, trust: BuildTrust) -> Manifest | None:
        """The manifest of this hash, where the file has it and a builder of the policy signed it."""
        manifest = self.named(manifest_hash)
        return manifest.signed.manifest if manifest and trust.builder(manifest.key) else None

    def built_by(self, verified: VerifiedStatement, trust: BuildTrust) -> BuiltBy | None:
        """Who built executable and plugin of this epoch and who made them again, of those whom the policy trusts.

        None where no manifest by a builder of the policy has both.
        """
        statement = verified.own.statement
        manifest = self.named(statement.manifest_hash)
        builder = trust.builder(manifest.key) if manifest else None
        programs = (statement.executable_hash, statement.plugin_hash)
        if manifest is None or builder is None or programs != tuple(map(manifest.output, _BUILT.values())):
            return None
        again = (
            trust.rebuilder(rebuild.key)
            for rebuild in self.rebuilds
            if rebuild.manifest_hash == manifest.sha256 and rebuild.reproduced.issuperset(programs)
        )
        return BuiltBy(builder.name, tuple(dict.fromkeys(_others(again, builder))))


def _others(rebuilders: Iterator[BuilderTrust | None], builder: BuilderTrust) -> Iterator[str]:
    """Names of those who are not the builder itself."""
    return (it.name for it in rebuilders if it and it.key != builder.key and it.name != builder.name)


def check_manifest(signed: SignedManifest, trust: BuildTrust) -> SelfSignedManifest:
    """Step 12: a manifest is signed by the key that it names, under the name that the policy has for that key."""
    _check_signer(signed.envelope, "build manifest", signed.manifest.builder, trust.builder(signed.envelope.key))
    return SelfSignedManifest(signed, MADE_BY_VERIFY)


def check_rebuild(signed: SignedRebuild, builds: Builds, trust: BuildTrust) -> SelfSignedRebuild:
    """Step 12: a rebuild statement is signed by the key that it names, about a manifest above it, as its hashes say."""
    statement, key = signed.statement, signed.envelope.key
    _check_signer(signed.envelope, "rebuild statement", statement.rebuilder, trust.rebuilder(key))
    manifest = builds.named(statement.manifest)
    if manifest is None:
        raise VerificationError(
            12, f"a rebuild statement is about manifest {statement.manifest.hex()}, not in the file"
        )
    try:
        made = reproduced(statement, manifest.signed)
    except DecodeError as error:
        raise VerificationError(12, f'the rebuild statement of "{statement.rebuilder}": {error}') from error
    return SelfSignedRebuild(key, statement.manifest, made, MADE_BY_VERIFY)


def _check_signer(envelope: Envelope, what: str, name: str, trusted: BuilderTrust | None) -> None:
    try:
        verify_envelope(envelope)
    except SignatureError as error:
        raise VerificationError(12, f'the {what} of "{name}" is not signed by its key: {error.reason}') from error
    if trusted and trusted.name != name:
        raise VerificationError(12, f'the {what} is of "{name}", its key that of "{trusted.name}" in the policy')


def check_build(verified: VerifiedStatement, builds: Builds, trust: BuildTrust) -> bool:
    """Step 12: executable, plugin and configuration are reference values, of the policy or of the manifest.

    Returns whether ``unsafe_any_build`` was needed, since there is no value for one of them.
    """
    statement, operator = verified.own.statement, verified.operator
    manifest = builds.named(statement.manifest_hash) if trust.builders else None
    found = (statement.executable_hash, statement.plugin_hash, statement.configuration_hash)
    not_compared = []
    for part, value in zip(BUILD_PARTS, found, strict=True):
        if part in operator.reference_values:
            if value not in operator.reference_values[part]:
                raise VerificationError(12, f"the {part} {value.hex()} is not a reference value of the policy")
        elif part in _BUILT and manifest:
            _check_output(part, value, manifest, trust)
        else:
            not_compared.append(part)
    if not_compared and not operator.unsafe_any_build:
        nor = _no_manifest(statement.manifest_hash) if trust.builders and not manifest else ""
        parts = ", ".join(not_compared)
        raise VerificationError(12, f"not compared: the policy has no reference value for {parts}{nor}")
    return bool(not_compared)


def _check_output(part: str, value: bytes, manifest: SelfSignedManifest, trust: BuildTrust) -> None:
    if trust.builder(manifest.key) is None:
        by = f'"{manifest.signed.manifest.builder}", key {manifest.key.fingerprint}'
        raise VerificationError(12, f"the policy does not trust the builder of the manifest, {by}")
    if value != manifest.output(_BUILT[part]):
        raise VerificationError(12, f"the {part} {value.hex()} is not that of the build manifest")


def _no_manifest(manifest_hash: bytes | None) -> str:
    if manifest_hash is None:
        return ", and the epoch statement names no build manifest"
    return f", and the file lacks the build manifest {manifest_hash.hex()}"


def check_rebuilt(built: BuiltBy | None, trust: BuildTrust) -> None:
    """Step 12: as many rebuilders as the policy asks for made executable and plugin of this epoch again."""
    if built is None:
        raise VerificationError(12, "no manifest by a builder of the policy has executable and plugin of this epoch")
    if trust.quorum is None:
        raise VerificationError(12, "the policy has no rebuilder, so nobody says that this build can be made again")
    if len(built.rebuilders) < trust.quorum:
        asked = f"the policy asks for {trust.quorum} rebuilder(s)"
        raise VerificationError(12, f"{asked}, {len(built.rebuilders)} made executable and plugin again")
