"""spec/timestamp.md: which tokens count. `openssl ts -verify` is the second opinion, and never stricter than we are."""

from __future__ import annotations

import datetime
import subprocess
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from sigillo.core import der as own_der
from sigillo.core.errors import DecodeError, SignatureError
from sigillo.core.timestamp import (
    DEFAULT_ACCURACY_NS,
    Token,
    TsaTrust,
    VerifiedToken,
    decode_token,
    token_certificates,
    verify_token,
)
from tests.vector.file import paths, read_vector

from ..adversary.maker import Maker, der
from ..adversary.tsa import POLICY, Tsa, accuracy, integer, octets, oid, sequence
from .timestamp_case import NOTE, OTHER, TIME_NS, TSA, Case, accepted, made_by_others, refused, unreadable

ACCEPTED, REFUSED, UNREADABLE = accepted() | made_by_others(), refused(), unreadable()


def judged(case: Case) -> VerifiedToken:
    return verify_token(case.token, case.message, case.trust, case.chain, case.crls)


def openssl_accepts(case: Case, folder: Path) -> bool:
    """What `openssl ts -verify` says of a token, with our roots as its only anchors, at the token's time."""
    pem = {"roots": case.trust.roots, "untrusted": case.chain}
    for name, certificates in pem.items():
        text = b"".join(x509.load_der_x509_certificate(found).public_bytes(Encoding.PEM) for found in certificates)
        (folder / f"{name}.pem").write_bytes(text)
    crls = (*case.trust.crls, *case.crls) if case.reason else ()  # OpenSSL looks at no date of an entry
    with (folder / "roots.pem").open("ab") as file:
        for crl in crls:
            file.write(x509.load_der_x509_crl(crl).public_bytes(Encoding.PEM))
    (folder / "token").write_bytes(case.token)
    (folder / "note").write_bytes(case.message)
    at = str(decode_token(case.token).gen_time_ns // 10**9)
    command = ["openssl", "ts", "-verify", "-token_in", "-in", folder / "token", "-data", folder / "note"]
    command += ["-CAfile", folder / "roots.pem", "-attime", at]
    command += ["-untrusted", folder / "untrusted.pem"] if pem["untrusted"] else []
    command += ["-crl_check_all"] if crls else []
    return subprocess.run(command, capture_output=True, timeout=60).returncode == 0


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted_and_openssl_agrees(name: str, tmp_path: Path) -> None:
    case = ACCEPTED[name]
    found = judged(case)
    assert (found.tsa, found.imprint) == (case.trust.name, decode_token(case.token).imprint)
    assert (found.policy,) == case.trust.policies
    if name != "strange-certificate-inside":  # which OpenSSL does not even read
        assert openssl_accepts(case, tmp_path)


@pytest.mark.parametrize("name", REFUSED)
def test_refused_and_openssl_agrees_or_it_is_said_why_not(name: str, tmp_path: Path) -> None:
    case = REFUSED[name]
    decode_token(case.token)
    with pytest.raises(SignatureError) as caught:
        judged(case)
    assert case.reason in str(caught.value)
    if name != "nine-beside":  # these are no certificates
        assert openssl_accepts(case, tmp_path) == bool(case.stricter)


@pytest.mark.parametrize("name", UNREADABLE)
def test_unreadable(name: str, recwarn: pytest.WarningsRecorder) -> None:
    case = UNREADABLE[name]
    with pytest.raises(DecodeError):
        decode_token(case.token)
    with pytest.raises(SignatureError):
        judged(case)
    assert not recwarn.list


def test_revocation_is_as_of_the_oldest_list_that_the_path_needs() -> None:
    second = TIME_NS - 35_500_000_000
    known = {"crl-empty": 0, "crl-of-the-reader": 1, "crl-twice-the-newer": 0, "crl-of-each": -1, "crl-with-another": 0}
    since = {name: 1 for name in ACCEPTED if name.endswith("since-the-token")}
    for name, case in ACCEPTED.items():
        days = (known | since).get(name)
        assert judged(case).revocation_ns == (None if days is None else second + days * 86_400 * 10**9), name


def test_times_keep_their_fractions() -> None:
    for name, gen_time_ns in (
        ("plain", TIME_NS),
        ("no-fraction", TIME_NS - 500_000_000),
        ("nanoseconds", TIME_NS - 499_999_999),
    ):
        assert judged(ACCEPTED[name]).gen_time_ns == gen_time_ns


def test_the_accuracy_is_stated_or_one_second() -> None:
    found = judged(ACCEPTED["plain"])
    assert (found.accuracy_ns, found.accuracy_stated) == (1_500_100_000, True)
    assert (found.not_before_ns, found.not_after_ns) == (TIME_NS - 1_500_100_000, TIME_NS + 1_500_100_000)
    for name in ("no-accuracy", "empty-accuracy"):
        found = judged(ACCEPTED[name])
        assert (found.accuracy_ns, found.accuracy_stated) == (DEFAULT_ACCURACY_NS, False)
    assert judged(ACCEPTED["accuracy-micros"]).accuracy_ns == 1000


def test_what_else_a_token_says() -> None:
    assert judged(ACCEPTED["nonce"]).nonce == 2**64 - 3
    assert judged(ACCEPTED["nonce-0"]).nonce == 0
    assert judged(ACCEPTED["plain"]).nonce is None
    assert judged(ACCEPTED["ordering"]).ordering
    assert judged(ACCEPTED["large-serial"]).serial == 2**160 - 1


def test_an_expired_certificate_counts_at_the_tokens_time_and_its_end_is_told() -> None:
    found = judged(ACCEPTED["expires-soon"])
    assert found.gen_time_ns < found.expires_ns == TIME_NS - 35_500_000_000 + 60 * 10**9
    late = Case(Tsa("Soon over", Maker("Example Time Root")).stamp(NOTE, time=b"20361118110715Z"))
    with pytest.raises(SignatureError, match="was not valid at the token's time"):
        judged(replace(late, trust=Tsa("Soon over", Maker("Example Time Root")).trust()))


def test_a_token_counts_for_its_own_authority_only() -> None:
    for authority, other in ((TSA, OTHER), (OTHER, TSA)):
        token = authority.stamp(NOTE)
        assert verify_token(token, NOTE, authority.trust()).tsa == authority.name
        with pytest.raises(SignatureError):
            verify_token(token, NOTE, other.trust())


@pytest.mark.parametrize("bits", [2048, 3072])
def test_rsa(bits: int, tmp_path: Path) -> None:
    authority = Tsa(f"RSA {bits}", key=rsa.generate_private_key(65537, bits))
    for lies in ({}, {"signature_algorithm": "1.2.840.113549.1.1.11"}):
        case = Case(authority.stamp(NOTE, **lies), trust=authority.trust())
        assert judged(case).tsa == authority.name
        assert openssl_accepts(case, tmp_path)


def test_an_rsa_key_of_1024_bits_is_refused() -> None:
    authority = Tsa("RSA 1024", key=rsa.generate_private_key(65537, 1024))
    with pytest.raises(SignatureError, match="kind or size"):
        verify_token(authority.stamp(NOTE), NOTE, authority.trust())


def test_the_certificates_of_a_token() -> None:
    assert token_certificates(TSA.stamp(NOTE)) == (TSA.certificate,)
    assert token_certificates(TSA.stamp(NOTE, certificates=[])) == ()


def test_trust_needs_roots_that_sign_themselves_and_policies() -> None:
    root = der([TSA.root.certificate])[0]
    below = der([TSA.root.below("Issuing").certificate])[0]
    for name, roots, policies, reason in (
        ("", (root,), (POLICY,), "tsa name"),
        ("a", (), (POLICY,), "has not 1 to 16"),
        ("a", (root, root), (POLICY,), "each once"),
        ("a", (root,), (), "has not 1 to 16"),
        ("a", (root,), ("1.02",), "no object identifier"),
        ("a", (root,), ("policy",), "no object identifier"),
        ("a", (below,), (POLICY,), "not signed by its own key"),
        ("a", (TSA.certificate,), (POLICY,), "is not a CA's"),
        ("a", (b"root",), (POLICY,), "certificate"),
    ):
        with pytest.raises(DecodeError, match=reason):
            TsaTrust(name, roots, policies)


def test_every_bit_of_a_token_is_refused_or_changes_nothing() -> None:
    token = TSA.stamp(NOTE, nonce=5)
    honest = verify_token(token, NOTE, TSA.trust())
    for at in range(len(token)):
        for bit in range(8):
            changed = bytearray(token)
            changed[at] ^= 1 << bit
            with pytest.raises(SignatureError):  # nothing of this one is spare
                verify_token(bytes(changed), NOTE, TSA.trust())
    spare = TSA.stamp(NOTE, certificates=der([*TSA.chain, TSA.root.certificate]))
    root = spare.index(der([TSA.root.certificate])[0])
    changed = bytearray(spare)
    changed[root + 20] ^= 1
    assert replace(verify_token(bytes(changed), NOTE, TSA.trust()), nonce=5) == honest


@given(st.binary(max_size=300))
def test_anything_is_decoded_or_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_token(data)


@given(st.data())
@settings(deadline=None)
def test_a_token_that_was_tampered_with_is_decoded_or_refused(data: st.DataObject) -> None:
    token = bytearray(ACCEPTED["name"].token)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(token) - 1))
        end = min(len(token), at + data.draw(st.integers(0, 4)))
        token[at:end] = data.draw(st.binary(max_size=4))
    with suppress(DecodeError):
        assert isinstance(decode_token(bytes(token)), Token)
    try:
        found = verify_token(bytes(token), NOTE, TSA.trust())
    except SignatureError:
        return
    assert found == judged(ACCEPTED["name"])


@given(
    seconds=st.integers(0, 2**33),
    nanoseconds=st.integers(0, 999_999_999),
    error=st.tuples(st.integers(0, 86_400), st.integers(0, 999), st.integers(0, 999)),
    serial=st.integers(0, 2**160 - 1),
    nonce=st.none() | st.integers(0, 2**256 - 1),
)
@settings(deadline=None)
def test_what_is_encoded_is_decoded(
    seconds: int, nanoseconds: int, error: tuple[int, int, int], serial: int, nonce: int | None
) -> None:
    moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=seconds)
    fraction = f".{nanoseconds:09}".rstrip("0").rstrip(".")
    text = f"{moment:%Y%m%d%H%M%S}{fraction}Z".encode()
    token = TSA.stamp(NOTE, time=text, accuracy=accuracy(*error), serial=integer(serial), nonce=nonce)
    found = decode_token(token)
    assert found.gen_time_ns == seconds * 10**9 + nanoseconds
    stated = error[0] * 10**9 + error[1] * 10**6 + error[2] * 10**3
    assert (found.accuracy_ns, found.accuracy_stated) == ((stated, True) if stated else (DEFAULT_ACCURACY_NS, False))
    assert (found.serial, found.nonce) == (serial, nonce)


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_the_two_encoders_agree(contents: list[bytes]) -> None:
    assert own_der.encode(own_der.SEQUENCE, *(own_der.encode(4, data) for data in contents)) == sequence(
        *map(octets, contents)
    )


@given(st.lists(st.integers(0, 2**70), min_size=1, max_size=5), st.integers(0, 2), st.integers(0, 39))
def test_object_identifiers(rest: list[int], first: int, second: int) -> None:
    dotted = ".".join(map(str, (first, second, *rest)))
    reader = own_der.Reader(oid(dotted), "oid")
    assert reader.oid() == dotted
    reader.end()


@pytest.mark.parametrize("content", ["", "80", "8001", "2a8001", "2a80", "ff", "00" * 65])
def test_object_identifiers_that_are_none(content: str) -> None:
    data = bytes.fromhex(content)
    with pytest.raises(DecodeError):
        own_der.Reader(bytes([6, len(data)]) + data, "oid").oid()


def numbered(fields: dict[str, str], name: str) -> list[str]:
    found = [key for key in fields if key.startswith(f"{name}_") and key.removeprefix(f"{name}_").isdecimal()]
    return [fields[f"{name}_{number}"] for number in range(1, len(found) + 1)]


def read(fields: dict[str, str]) -> VerifiedToken:
    decode_token(bytes.fromhex(fields["token"]))
    roots, chain = (tuple(map(bytes.fromhex, numbered(fields, name))) for name in ("root", "chain"))
    trust = TsaTrust("of the vector", roots, tuple(numbered(fields, "policy")))
    crls = tuple(map(bytes.fromhex, numbered(fields, "crl")))
    return verify_token(bytes.fromhex(fields["token"]), bytes.fromhex(fields["message"]), trust, chain, crls)


@pytest.mark.parametrize("path", list(paths("timestamp", "accept")), ids=lambda path: path.stem)
def test_accepted_vectors(path: Path) -> None:
    fields = read_vector(path)
    found = read(fields)
    assert (found.gen_time_ns, found.accuracy_ns) == (int(fields["gen_time"]), int(fields["accuracy"]))
    assert (str(found.accuracy_stated).lower(), found.policy) == (fields["accuracy_stated"], fields["policy"])
    assert (found.serial, found.expires_ns) == (int(fields["serial"]), int(fields["expires"]))
    assert found.revocation_ns == (int(fields["revocation"]) if "revocation" in fields else None)
    assert found.nonce == (int(fields["nonce"]) if "nonce" in fields else None)


@pytest.mark.parametrize("path", list(paths("timestamp", "reject")), ids=lambda path: path.stem)
def test_rejected_vectors(path: Path) -> None:
    fields = read_vector(path)
    with pytest.raises(SignatureError if "message" in fields else DecodeError):
        read(fields)
