"""The files of a closure, as `sha256sum -c` reads them on the operator's machine (spec/launch.md)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sigillo.core.launch import Closure, Member, Role
from sigillo.report.escape import escape

_HEAD = """\
# sha256sum -c reads this in the operator's folder, on the operator's machine.
# Left out: a private key is measured by its public half, the DER that `openssl pkey -pubout -outform DER` writes of it.
"""


def named_keys(text: str) -> frozenset[str]:
    """The private key files that the text of a mosquitto.conf names."""
    lines = (line.split(maxsplit=1) for line in text.splitlines())
    return frozenset(words[1].strip() for words in lines if len(words) == 2 and words[0].endswith("keyfile"))


def closure_list(closure: Closure, texts: Mapping[bytes, frozenset[str]]) -> bytes:
    """The list of a closure. *texts*: by SHA-256 of each configuration text that is known, the keys that it names.

    A file that may be a private key stands in a comment: one that the configuration of the closure names as such; where
    the text that names keys is not known, every file of the configuration whose text is not.
    """
    found = [texts[member.digest] for member in _configured(closure) if member.digest in texts]
    keys: frozenset[str] = frozenset().union(*found)
    lines = []
    for member in closure.members:
        unknown = member.role is Role.CONFIGURATION and member.digest not in texts
        if unknown and (not keys or any(_is_named(member.name, key) for key in keys)):
            why = "may be a private key" if not keys else "private key, by its public half"
            lines.append(f"# {why}: {member.digest.hex()}  {escape(member.name)}\n")
        else:
            lines.append(_line(member))
    return (_HEAD + "".join(lines)).encode()


def _configured(closure: Closure) -> Iterator[Member]:
    return (member for member in closure.members if member.role is Role.CONFIGURATION)


def _is_named(name: str, value: str) -> bool:
    """A closure names a file of the operator's folder relative to it; a configuration may have its whole path."""
    return value.removeprefix("./") == name or value.endswith(f"/{name}")


def _line(member: Member) -> str:
    """As `sha256sum` writes it, which has a backslash first where the name has one, or a line end, inside."""
    name = member.name.replace("\\", "\\\\").replace("\n", "\\n")
    return f"{'' if name == member.name else chr(92)}{member.digest.hex()}  {name}\n"
