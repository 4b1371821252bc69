"""Whose build manifests and rebuild statements count (spec/policy.md, "Builders and rebuilders")."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sigillo.core.bytes import base64url_decode, base64url_encode
from sigillo.core.dsse import DsseKey
from sigillo.core.errors import DecodeError, PolicyError
from sigillo.core.table import Table, decode_name, quote


@dataclass(frozen=True, slots=True)
class BuilderTrust:
    """A builder or a rebuilder, and its key."""

    name: str
    key: DsseKey


@dataclass(frozen=True, slots=True)
class BuildTrust:
    """*quorum*: how many rebuilders have to have made the programs again; None where there are none.

    Raises PolicyError where a name or key occurs twice, or the quorum does not fit the rebuilders.
    """

    builders: tuple[BuilderTrust, ...] = ()
    rebuilders: tuple[BuilderTrust, ...] = ()
    quorum: int | None = None

    def __post_init__(self) -> None:
        for table, parties in (("builder", self.builders), ("rebuilder", self.rebuilders)):
            for at, party in enumerate(parties):
                if party.name in [other.name for other in parties[:at]]:
                    raise PolicyError(f"{table}[{at + 1}].name", "occurs twice")
                if party.key in [other.key for other in parties[:at]]:
                    raise PolicyError(f"{table}[{at + 1}].key", "occurs twice")
        if self.rebuilders and not self.builders:
            raise PolicyError("rebuilder", "needs a [[builder]], whose manifest is rebuilt")
        if (self.quorum is None) == bool(self.rebuilders):
            must = "must be there, since there is a [[rebuilder]]" if self.rebuilders else "goes with a [[rebuilder]]"
            raise PolicyError("build", must)
        if self.quorum is not None and not 1 <= self.quorum <= len(self.rebuilders):
            raise PolicyError("build.quorum", f"must be 1 to {len(self.rebuilders)}, the number of [[rebuilder]]")

    def builder(self, key: DsseKey) -> BuilderTrust | None:
        """The builder with this key, or None."""
        return next((party for party in self.builders if party.key == key), None)

    def rebuilder(self, key: DsseKey) -> BuilderTrust | None:
        """The rebuilder with this key, or None."""
        return next((party for party in self.rebuilders if party.key == key), None)


def decode_build_trust(top: Table) -> BuildTrust:
    """What a policy's top table says of builders. Raises PolicyError."""
    builders, rebuilders = _parties(top, "builder"), _parties(top, "rebuilder")
    quorum = None
    if top.has("build"):
        table = Table(top.take("build", dict), "build")
        quorum = table.take("quorum", int)
        table.end()
    return BuildTrust(builders, rebuilders, quorum)


def build_trust_lines(trust: BuildTrust) -> Iterator[str]:
    """The lines of TOML that decode to *trust*."""
    for table, parties in (("builder", trust.builders), ("rebuilder", trust.rebuilders)):
        for party in parties:
            yield from ("", f"[[{table}]]", f"name = {quote(party.name)}")
            yield f"key = {quote(base64url_encode(party.key.spki))}"
    if trust.quorum is not None:
        yield from ("", "[build]", f"quorum = {trust.quorum}")


def _parties(top: Table, name: str) -> tuple[BuilderTrust, ...]:
    tables = (Table(value, f"{name}[{at + 1}]") for at, value in enumerate(top.take(name, list, [])))
    return tuple(_party(table) for table in tables)


def _party(table: Table) -> BuilderTrust:
    name = decode_name(table.take("name", str), table.name("name"))
    try:
        key = DsseKey.from_spki(base64url_decode(table.take("key", str)))
    except DecodeError as error:
        raise PolicyError(table.name("key"), error.reason) from error
    table.end()
    return BuilderTrust(name, key)
