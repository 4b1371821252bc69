"""What an operator hands to strangers: its name, log key and reference values (spec/policy.md).

It asks for trust and gives none: `sigillo policy new` copies it into a policy and prints what to compare.
"""

from __future__ import annotations

from types import MappingProxyType

from sigillo.core.errors import PolicyError
from sigillo.core.policy import BUILD_PARTS, OperatorTrust, decode_hashes, decode_log_key
from sigillo.core.table import Table, decode_name, decode_toml

MAX_BYTES = 1024 * 1024


def decode_published(data: bytes) -> OperatorTrust:
    """Decode an operator's published file: `name`, `log_key` (vkey) and, each optional, `executable`, `plugin` and
    `configuration` (lists of SHA-256 in hex).

    Raises:
        PolicyError: naming the key that is missing, unknown or malformed.
    """
    if len(data) > MAX_BYTES:
        raise PolicyError("file", f"is larger than {MAX_BYTES} bytes")
    table = Table(decode_toml(data), "")
    name = decode_name(table.take("name", str), "name")
    log_key = decode_log_key(table.take("log_key", str), "log_key")
    values = {part: decode_hashes(table.take(part, list), part) for part in BUILD_PARTS if table.has(part)}
    table.end()
    return OperatorTrust(name, log_key, "declared", MappingProxyType(values))
