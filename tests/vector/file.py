"""Vector files: spec/encoding.md, "Vector files"."""

from collections.abc import Iterator, Mapping
from pathlib import Path

VECTORS = Path(__file__).resolve().parents[2] / "vectors"
Value = str | bytes | int | bool


def format_vector(fields: Mapping[str, Value]) -> str:
    """Text of a vector file, one `name: value` a line."""
    return "".join(f"{name}: {_text(value)}".rstrip() + "\n" for name, value in fields.items())


def parse_vector(text: str) -> dict[str, str]:
    """Values by name, as text."""
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    pairs = (line.partition(":") for line in lines)
    return {name: value.removeprefix(" ") for name, _, value in pairs}


def read_vector(path: Path) -> dict[str, str]:
    """Values of one file by name, as text."""
    return parse_vector(path.read_text(encoding="utf-8"))


def paths(name: str, verdict: str) -> Iterator[Path]:
    """Files of one format; `verdict` is "accept" or "reject"."""
    found = sorted((VECTORS / name / verdict).glob("*.txt"))
    assert found, f"no vectors of {name}/{verdict}"
    yield from found


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return value.hex()
    return str(value)
