"""`published/operator.toml`: what the operator hands to strangers (read by `sigillo.core.published`)."""

from __future__ import annotations

from pathlib import Path

from sigillo import disk
from sigillo.broker.error import BrokerError
from sigillo.core.errors import PolicyError
from sigillo.core.note import LogKey
from sigillo.core.policy import BUILD_PARTS
from sigillo.core.published import decode_published
from sigillo.core.table import quote


def publish(path: Path, operator: str, log_key: LogKey, hashes: dict[str, bytes]) -> bool:
    """Write the file if *hashes* (SHA-256 by part: executable, plugin, configuration) or names are not in it yet.

    Hashes of earlier epochs stay, because evidence of those epochs needs them; the newest come first. The operator may
    take one out by hand. Returns whether it was written. Raises BrokerError, OSError.
    """
    known: dict[str, tuple[bytes, ...]] = {}
    unchanged = False
    if path.exists():
        try:
            before = decode_published(path.read_bytes())
        except PolicyError as error:
            raise BrokerError(f"{path}: {error}; put it aside, it will be written again") from None
        known = dict(before.reference_values)
        unchanged = (before.name, before.log_key) == (operator, log_key)
    if unchanged and all(known.get(part, ())[:1] == (hashes[part],) for part in BUILD_PARTS):
        return False
    lists = {part: list(dict.fromkeys((hashes[part], *known.get(part, ())))) for part in BUILD_PARTS}
    lines = [
        "# What this operator hands to strangers: sigillo policy new --operator THIS_FILE …",
        "# Compare the log key over another channel. Newest hashes first; take out those that shall no longer count.",
        f"name = {quote(operator)}",
        f"log_key = {quote(log_key.vkey)}",
        *(f"{part} = [{', '.join(quote(value.hex()) for value in values)}]" for part, values in lists.items()),
    ]
    disk.replace(path, "\n".join([*lines, ""]).encode(), disk.PUBLIC)
    return True
