"""Access list of Mosquitto (the file of `acl_file`, mosquitto.conf(5)): who may write where, for spec/rule.md."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sigillo.core.errors import ConfigurationError

_ACCESS: Final = ("read", "write", "readwrite", "deny")
_WHITE: Final = " \t\v\f\r"


@dataclass(frozen=True, slots=True)
class Grant:
    """One line. `user`: whom it is for; None: a `pattern`, or a `topic` above any user. `access`: as Mosquitto says."""

    number: int
    user: str | None
    access: str
    topic_filter: str

    @property
    def opens_all(self) -> bool:
        """Whether it lets everybody write, and names no topic: its filter is of wildcards alone."""
        levels = self.topic_filter.split("/")
        return self.user is None and self.access in ("write", "readwrite") and all(level in "+#" for level in levels)


def decode_access_list(file: str, text: str) -> Iterator[Grant]:
    """The lines of an access list, as Mosquitto reads them. Raises ConfigurationError where it would refuse one."""
    if "\0" in text:
        raise ConfigurationError(file, "has zero bytes in it: no access list of Mosquitto")
    user = None
    for number, line in enumerate(text.split("\n"), start=1):
        kind, _, value = line.rstrip(_WHITE).lstrip(" ").partition(" ")
        value = value.lstrip(" ")
        if not kind or line.startswith("#"):
            continue
        if not value or kind not in ("user", "topic", "pattern"):
            raise ConfigurationError(f"{file}: line {number}", "is not `user`, `topic` or `pattern` with a value")
        if kind == "user":
            user = value
            continue
        yield _grant(file, number, None if kind == "pattern" else user, value)


def _grant(file: str, number: int, user: str | None, value: str) -> Grant:
    first, _, rest = value.partition(" ")
    if not rest:
        return Grant(number, user, "readwrite", value)
    if first not in _ACCESS:
        raise ConfigurationError(f"{file}: line {number}", "has an access that is not read, write, readwrite or deny")
    return Grant(number, user, first, rest.lstrip(" "))
