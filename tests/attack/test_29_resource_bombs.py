"""Attack 29 (GHSA-4qg8-fj49-pxjh): small files that cost much. What a reader goes through is bounded by the format."""

from __future__ import annotations

import dataclasses

import pytest

from sigillo.core.errors import DecodeError, PolicyError, SignatureError
from sigillo.core.policy import decode_policy
from sigillo.core.statement import MAX_LISTED, ListenerKey, MarkedFilter, encode_statement_fields
from sigillo.core.table import MAX_DOTS
from sigillo.core.timestamp import TsaTrust, decode_token, verify_token

from ..adversary.tsa import Tsa, algorithm, attribute, element, octets
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


TSA = Tsa()
NOTE = b"a signed note\n"


def nested(depth: int) -> bytes:
    data = b""
    for _ in range(depth):
        data = element(0x30, data)
    return data


@pytest.mark.parametrize(
    "token",
    [
        bytes(10**7),
        b"\x30\x84\xff\xff\xff\xff" + bytes(100),
        b"\x30\x83\xff\xff\xff" + bytes(100),
        nested(7000),
        TSA.stamp(NOTE, policy="1.3" + ".1" * 20_000),
        TSA.stamp(NOTE, serial=element(2, b"\x01" * 20_000)),
        TSA.stamp(NOTE, certificates=[TSA.certificate[:-4] + number.to_bytes(4, "big") for number in range(9)]),
        TSA.stamp(NOTE, signers=9),
        TSA.stamp(NOTE, attributes=[attribute(f"1.2.{number}", octets(b"")) for number in range(14)]),
        TSA.stamp(NOTE, digests=[algorithm(f"1.2.{number}") for number in range(4)]),
    ],
    ids=[
        "large",
        "4 GB",
        "16 MB",
        "deep",
        "long oid",
        "long number",
        "certificates",
        "signers",
        "attributes",
        "hashes",
    ],
)
def test_a_token_is_small_in_every_part(token: bytes) -> None:
    """Sigstore's authority took an object identifier of any length apart, at the square of its cost."""
    with pytest.raises(DecodeError):
        decode_token(token)


def test_certificates_around_a_token_do_not_multiply_work() -> None:
    """Eight in it and eight beside it, all of one name: each is tried once under each of the level above."""
    many = [Tsa(f"TSA {number}", TSA.root, form={"serial": 100 + number}).certificate for number in range(15)]
    found = verify_token(TSA.stamp(NOTE, certificates=[TSA.certificate, *many[:7]]), NOTE, TSA.trust(), many[7:])
    assert found.tsa == TSA.name
    with pytest.raises(SignatureError, match="more than 8"):
        verify_token(TSA.stamp(NOTE), NOTE, TSA.trust(), [*many[7:], TSA.certificate])


def test_a_trust_has_few_roots() -> None:
    with pytest.raises(DecodeError, match="1 to 16"):
        TsaTrust("TSA", tuple(bytes([number]) for number in range(17)), ("1.2.3",))
