"""Attack 29 (GHSA-4qg8-fj49-pxjh): small files that cost much. What a reader goes through is bounded by the format."""

from __future__ import annotations

import dataclasses

import pytest

from sigillo.core.errors import DecodeError, PolicyError
from sigillo.core.policy import decode_policy
from sigillo.core.statement import MAX_LISTED, ListenerKey, MarkedFilter, encode_statement_fields
from sigillo.core.table import MAX_DOTS

from ..vector.sample import FIRST_FIELDS


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("filters", (MarkedFilter("a"),) * (MAX_LISTED + 1)),
        ("tls_keys", (ListenerKey("127.0.0.1:1", None),) * (MAX_LISTED + 1)),
        ("bridge_principals", tuple(f"{number:03}" for number in range(MAX_LISTED + 1))),
    ],
)
def test_lists_of_a_statement_are_short(field: str, value: object) -> None:
    """Each mark is matched with each filter: 200,000 filters in 5 KB of gzip kept a reader busy for minutes."""
    with pytest.raises(DecodeError, match="more than 64"):
        encode_statement_fields(dataclasses.replace(FIRST_FIELDS, **{field: value}))


def test_a_policy_has_no_endless_key() -> None:
    with pytest.raises(PolicyError, match="dots"):
        decode_policy(b"a" + b".a" * (MAX_DOTS + 1) + b" = 1\n")
