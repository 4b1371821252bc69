"""A story whose reader believes a builder and rebuilders instead of pinning the hashes of programs."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from sigillo.core.build_trust import BuilderTrust, BuildTrust
from sigillo.core.evidence_line import Line, ManifestLine, RebuildLine
from sigillo.core.manifest import Manifest, decode_manifest
from sigillo.core.policy import MissingTrust, Policy

from .broker import HASHES, alone, evidence_file
from .builder import dsse_key, manifest_of, signed_manifest, signed_statement
from .story import Story

BUILDER = BuilderTrust("Example Builder", dsse_key("builder"))
REBUILDERS = tuple(BuilderTrust(f"Rebuilder {name}", dsse_key(f"rebuilder {name}")) for name in "ABC")


def rebuilt_by(manifest: bytes, *names: str, **other: bytes | None) -> list[bytes]:
    """A statement of each of these rebuilders; *other*: see `statement_about`."""
    return [signed_statement(manifest, f"Rebuilder {name}", f"rebuilder {name}", **other) for name in names]


@dataclass
class BuiltStory(Story):
    """Two of three rebuilders have to agree, and A and B do; *missing*: what the reader permits."""

    built: Manifest = field(default_factory=lambda: manifest_of(HASHES["executable"], HASHES["plugin"]))
    quorum: int = 2
    missing: MissingTrust = field(default_factory=alone)

    def __post_init__(self) -> None:
        self.manifest = signed_manifest(self.built)
        self.statements = rebuilt_by(self.manifest, "A", "B")

    def start(self, **lies: Any) -> None:
        named = {"manifest_hash": decode_manifest(self.manifest).sha256}
        self.broker.start(**{**named, **lies})
        self.publish()

    @property
    def shared(self) -> list[Line]:
        """The lines before the first epoch."""
        texts = sorted(statement.decode() for statement in self.statements)
        return [ManifestLine(self.manifest.decode()), *map(RebuildLine, texts)]

    @property
    def lines(self) -> list[Line]:
        return [*self.shared, *self.broker.lines]

    def file(self) -> bytes:
        return evidence_file(self.lines)

    @property
    def trust(self) -> BuildTrust:
        return BuildTrust((BUILDER,), REBUILDERS, self.quorum)

    @property
    def policy(self) -> Policy:
        values = MappingProxyType({"configuration": (HASHES["configuration"],)})
        operators = (self.broker.trust(reference_values=values),)
        return self.broker.policy(*self.devices, operators=operators, build=self.trust, missing=self.missing)


def built() -> BuiltStory:
    """One epoch of a broker that was rebuilt."""
    story = BuiltStory()
    story.start()
    return story
