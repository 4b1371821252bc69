"""Time-stamp tokens that count and that do not, by name: unit tests, vectors and the comparison with OpenSSL."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from sigillo.core.checkpoint import TreeHead, encode_checkpoint, sign_checkpoint
from sigillo.core.timestamp import TsaTrust
from tests.vector.file import read_vector
from tests.vector.key import LOG, filler
from tests.vector.sample import LOG_KEY

from ..adversary import tsa
from ..adversary.device import p256_key
from ..adversary.maker import AUTHORITY, DAY, START, Maker, der, usage
from ..adversary.tsa import Tsa, accuracy, algorithm, attribute, element, ess_v1, ess_v2, integer, octets, oid, sequence

NOTE = encode_checkpoint(sign_checkpoint(TreeHead(LOG_KEY.name, 4711, filler("root")), LOG_KEY, LOG.sign))
TSA, OTHER = Tsa(), Tsa("Other Time")
TRUST = TSA.trust()
TOKENS = Path(__file__).parents[1] / "vector" / "token"
Reason = x509.ReasonFlags
SINCE = (Reason.unspecified, Reason.affiliation_changed, Reason.superseded, Reason.cessation_of_operation)
TOKEN_SECOND = START.replace(microsecond=0) + DAY * 35 / 86_400
TIME_NS = int(START.timestamp()) * 10**9 + 35_500_000_000


@dataclass(frozen=True)
class Case:
    """A token over a message, judged under a trust.

    *reason*: what the refusal says. *stricter*: why OpenSSL does accept what is refused. *why*: it cannot be read.
    """

    token: bytes
    message: bytes = NOTE
    trust: TsaTrust = TRUST
    chain: Sequence[bytes] = ()
    crls: Sequence[bytes] = ()
    reason: str = ""
    stricter: str = ""
    why: str = ""


def case(authority: Tsa = TSA, *, chain: Sequence[bytes] = (), why: str = "", **lies: Any) -> Case:
    return Case(authority.stamp(NOTE, **lies), trust=authority.trust(), chain=chain, why=why)


def stamper(name: str, maker: Maker | None = None, **form: Any) -> Tsa:
    """An authority whose certificate is of another form."""
    return Tsa(name, maker or Maker("Example Time Root"), form=form)


def extension(kind: str, *, critical: bool) -> bytes:
    return element(0xA1, sequence(oid(kind), b"\x01\x01\xff" if critical else b"", octets(b"\x05\x00")))


def accepted() -> dict[str, Case]:
    root = der([TSA.root.certificate])[0]
    below = Tsa(maker=Maker("Example Time Root").below("Issuing"))
    three = Tsa(maker=Maker("Example Time Root").below("One").below("Two").below("Three"))
    leaf, *above = der(three.chain)
    soon = stamper("Soon over", not_after=START + DAY / 1440)
    return {
        "plain": case(),
        "nonce": case(nonce=2**64 - 3),
        "nonce-0": case(nonce=0),
        "no-fraction": case(time=b"20261118110715Z"),
        "nanoseconds": case(time=b"20261118110715.000000001Z"),
        "no-accuracy": case(accuracy=b""),
        "empty-accuracy": case(accuracy=accuracy()),
        "accuracy-micros": case(accuracy=accuracy(micros=1)),
        "ordering": case(ordering=b"\x01\x01\xff"),
        "large-serial": case(serial=integer(2**160 - 1)),
        "null-parameters": case(imprint_algorithm=algorithm(tsa.SHA256, b"\x05\x00")),
        "name": case(extra=element(0xA0, element(0xA4, TSA.chain[0].subject.public_bytes()))),
        "extension": case(extra=extension("0.4.0.19422.1.1", critical=False)),
        "sha384": case(digest=tsa.SHA384),
        "ess-sha1": case(ess=[ess_v1(TSA.certificate)]),
        "ess-both": case(ess=[ess_v1(TSA.certificate), ess_v2(TSA.certificate)]),
        "ess-sha512": case(ess=[ess_v2(TSA.certificate, "sha512", "2.16.840.1.101.3.4.2.3")]),
        "further-attribute": case(attributes=[attribute("1.2.840.113549.1.9.5", element(0x17, b"261118110715Z"))]),
        "unsigned-attribute": case(unsigned=element(0xA1, attribute("1.2.3", integer(1)))),
        "revocation-list": case(lists=element(0xA1, TSA.root.revocations())),
        "intermediate": case(below),
        "three-intermediates": case(three),
        "chain-beside": case(three, certificates=[leaf], chain=above),
        "certificate-beside": case(certificates=[], chain=[TSA.certificate]),
        "root-inside": case(certificates=[TSA.certificate, root]),
        "unsorted-certificates": Case(_unsorted(TSA.stamp(NOTE, certificates=[TSA.certificate, root]))),
        "strange-certificate-inside": case(certificates=[TSA.certificate, sequence(b"\x05\x00")]),
        "expires-soon": case(soon),
        "content-commitment": case(stamper("Commitment", key_usage=usage(content_commitment=True))),
        "no-key-usage": case(stamper("No usage", key_usage=None)),
    } | not_revoked()


def not_revoked() -> dict[str, Case]:
    """With revocation lists that have nothing against them, or that count for nothing."""
    leaf, root = TSA.chain[0], TSA.root
    below = Tsa(maker=Maker("Example Time Root").below("Issuing"))
    assert below.maker
    no_usage = Tsa(maker=Maker("No CRLs", form=dataclasses.replace(AUTHORITY, key_usage=usage(key_cert_sign=True))))
    part = x509.IssuingDistributionPoint(None, None, False, False, frozenset({Reason.key_compromise}), False, False)
    by_root = below.root.revocations(at=START - DAY)

    def listed(*crls: bytes, by: Tsa = TSA, trust: TsaTrust | None = None) -> Case:
        return Case(by.stamp(NOTE), trust=trust or by.trust(), crls=crls)

    return {
        "crl-empty": listed(root.revocations()),
        "crl-of-the-reader": listed(trust=dataclasses.replace(TRUST, crls=(root.revocations(at=START + DAY),))),
        "crl-twice-the-newer": listed(root.revocations(at=START - DAY), root.revocations()),
        "crl-of-each": listed(below.maker.revocations(), by_root, by=below),
        "crl-of-one-of-two": listed(by_root, by=below),
        "crl-with-another": listed(root.revocations(OTHER.root.certificate)),
        **{
            f"crl-{reason.name.replace('_', '-')}-since-the-token": listed(
                root.revocations(leaf, since=START + DAY / 1440, reason=reason, at=START + DAY)
            )
            for reason in SINCE
        },
        "crl-of-another-ca": listed(OTHER.root.revocations(leaf)),
        "crl-of-another-key": listed(Maker(root.name, key=p256_key("evil")).revocations(leaf)),
        "crl-of-who-may-not": listed(no_usage.root.revocations(no_usage.chain[0]), by=no_usage),
        "crl-in-part": listed(root.revocations(extensions=[(part, True)])),
        "crl-delta": listed(root.revocations(extensions=[(x509.DeltaCRLIndicator(1), True)])),
        "crl-garbage": listed(b"\x30\x03\x02\x01\x00"),
        "crl-cut-off": listed(root.revocations()[:-1]),
    }


def revoked() -> dict[str, Case]:
    """Tokens of certificates that had been revoked; or have been since, in a way that reaches back."""
    leaf, root = TSA.chain[0], TSA.root
    below = Tsa(maker=Maker("Example Time Root").below("Issuing"))
    assert below.maker
    empty, later = below.maker.revocations(), START + DAY / 1440
    lists = {
        "before": root.revocations(leaf, since=START, reason=Reason.cessation_of_operation),
        "at-the-second": root.revocations(leaf, since=TOKEN_SECOND, reason=Reason.superseded),
        "without-a-reason": root.revocations(leaf, since=later),
        **{
            f"{reason.name.replace('_', '-')}-later": root.revocations(leaf, since=later, reason=reason)
            for reason in Reason
            if reason not in (*SINCE, Reason.remove_from_crl)
        },
    }
    made = {f"revoked-{name}": Case(TSA.stamp(NOTE), crls=(crl,), reason="revoked") for name, crl in lists.items()}
    clean, older = root.revocations(), root.revocations(leaf, at=START - DAY / 2)
    made["revoked-in-the-older-list"] = Case(
        TSA.stamp(NOTE), crls=(older, clean), reason="revoked", stricter="which list it looks at"
    )
    by_root = below.root.revocations(below.maker.certificate, reason=Reason.ca_compromise)
    intermediate = Case(below.stamp(NOTE), trust=below.trust(), crls=(empty, by_root), reason="revoked")
    for_reader = dataclasses.replace(TRUST, crls=(lists["without-a-reason"],))
    of_reader = Case(TSA.stamp(NOTE), trust=for_reader, reason="revoked")
    many = Case(TSA.stamp(NOTE), crls=[clean] * 5, reason="more than 4", stricter="a limit of ours")
    return made | {"revoked-intermediate": intermediate, "revoked-says-the-reader": of_reader, "five-crls": many}


def made_by_others() -> dict[str, Case]:
    """Tokens over the same note that OpenSSL 3.0 and certomancer 0.16 made: tests/vector/token, as they came."""
    found = {}
    for path in sorted(TOKENS.glob("*.txt")):
        values = read_vector(path)
        trust = TsaTrust(path.stem, (bytes.fromhex(values["root"]),), (values["policy"],))
        found[path.stem] = Case(bytes.fromhex(values["token"]), trust=trust)
    return found


def _unsorted(token: bytes) -> bytes:
    """With the certificates the other way round."""
    first, second = sorted([TSA.certificate, der([TSA.root.certificate])[0]])
    assert first + second in token
    return token.replace(first + second, second + first)


def refused() -> dict[str, Case]:
    """Well formed, and not to be believed."""
    plain = TSA.stamp(NOTE)
    root = Maker("Example Time Root")
    below = Tsa(maker=root.below("Issuing"))
    uses = x509.ExtendedKeyUsage
    stamps, signs = ExtendedKeyUsageOID.TIME_STAMPING, ExtendedKeyUsageOID.CODE_SIGNING
    twin = Tsa("Twin", root, key=p256_key("twin"))  # certified under the serial number of the honest one
    liar = Tsa(key=p256_key("liar"))
    not_ca = Tsa(maker=root.below("No CA", constraints=x509.BasicConstraints(ca=False, path_length=None)))
    four = Tsa(maker=root.below("One").below("Two").below("Three").below("Four"))

    def form(name: str, reason: str, stricter: str = "", **changes: Any) -> Case:
        authority = stamper(name, **changes)
        return Case(authority.stamp(NOTE), trust=authority.trust(), reason=reason, stricter=stricter)

    other_root = "no chain leads"
    return {
        **revoked(),
        "other-note": Case(plain, NOTE + b"\n", reason="about something else"),
        "other-authority": Case(OTHER.stamp(NOTE), reason=other_root),
        "other-authority-same-name": Case(Tsa("Example Time", Maker("Evil")).stamp(NOTE), reason=other_root),
        "other-policy": Case(
            TSA.stamp(NOTE, policy="1.3.6.1.4.1.99999.2.2"), reason="is none trusted", stricter="policy"
        ),
        "other-signature": Case(plain[:-1] + bytes([plain[-1] ^ 1]), reason="signature does not verify"),
        "other-key": Case(
            liar.stamp(NOTE, certificates=[TSA.certificate], ess=[ess_v2(TSA.certificate)]),
            chain=[],
            reason="signature does not verify",
        ),
        "own-root-inside": Case(
            OTHER.stamp(NOTE, certificates=der([*OTHER.chain, OTHER.root.certificate])), reason=other_root
        ),
        "own-root-beside": Case(OTHER.stamp(NOTE), chain=der([OTHER.root.certificate]), reason=other_root),
        "no-certificate": Case(TSA.stamp(NOTE, certificates=[]), reason="0 certificates are"),
        "two-certificates-of-one-number": Case(
            TSA.stamp(NOTE, certificates=[TSA.certificate, twin.certificate]), reason="2 certificates are"
        ),
        "ess-missing": Case(TSA.stamp(NOTE, ess=[]), reason="does not sign which certificate"),
        "ess-other": Case(TSA.stamp(NOTE, ess=[ess_v2(OTHER.certificate)]), reason="whose hash the token has signed"),
        "ess-sha1-other": Case(
            TSA.stamp(NOTE, ess=[ess_v1(OTHER.certificate), ess_v2(TSA.certificate)]),
            reason="whose hash the token has signed",
        ),
        "ess-v2-of-sha1": Case(
            TSA.stamp(NOTE, ess=[ess_v2(TSA.certificate, "sha1", tsa.SHA1)]),
            reason="a hash that is not accepted",
            stricter="SHA-1 in the newer attribute",
        ),
        "chain-missing": Case(
            below.stamp(NOTE, certificates=[below.certificate]), trust=below.trust(), reason=other_root
        ),
        "four-intermediates": Case(
            four.stamp(NOTE), trust=four.trust(), reason=other_root, stricter="three intermediates are enough"
        ),
        "issuer-is-no-ca": Case(not_ca.stamp(NOTE), trust=not_ca.trust(), reason="is not a CA's"),
        "nine-beside": Case(plain, chain=[filler(str(n)) for n in range(9)], reason="more than 8", stricter="a limit"),
        "no-extended-usage": form("None", "not for time stamps alone", further=[]),
        "extended-usage-not-critical": form("Lax", "not for time stamps alone", further=[(uses([stamps]), False)]),
        "extended-usage-not-alone": form("Two", "not for time stamps alone", further=[(uses([stamps, signs]), True)]),
        "extended-usage-other": form("Other", "not for time stamps alone", further=[(uses([signs]), True)]),
        "is-a-ca": form(
            "CA",
            "is a CA",
            "RFC 3161 does not say",
            constraints=x509.BasicConstraints(ca=True, path_length=None),
        ),
        "key-usage-other": form("Keys", "is not for signatures", key_usage=usage(key_encipherment=True)),
        "key-usage-not-alone": form(
            "All", "for signatures alone", key_usage=usage(digital_signature=True, key_cert_sign=True)
        ),
        "not-yet-valid": form("Early", "was not valid", not_before=START + DAY),
        "no-longer-valid": form("Late", "was not valid", not_after=START),
    }


def unreadable() -> dict[str, Case]:
    """Not of the form that spec/timestamp.md asks."""
    plain = TSA.stamp(NOTE)

    def lie(why: str, **lies: Any) -> Case:
        return case(why=why, **lies)

    def time(text: str, why: str) -> Case:
        return case(time=text.encode(), why=why)

    def raw(token: bytes, why: str) -> Case:
        return Case(token, why=why)

    twice = attribute(tsa.CONTENT_TYPE, oid(tsa.TST_INFO), oid(tsa.DATA))
    swapped = sequence(integer(5, 0x81), integer(5, 0x80))
    other = algorithm(tsa.SHA384)
    return {
        "empty": raw(b"", "nothing"),
        "cut": raw(plain[:-1], "a byte is missing"),
        "behind": raw(plain + b"\0", "a byte behind the end"),
        "response": raw(sequence(sequence(integer(0)), plain), "a TimeStampResp, not the token in it"),
        "indefinite-length": raw(b"\x30\x80" + plain[4:] + b"\0\0", "BER: indefinite length"),
        "long-length": raw(b"\x30\x83\x00" + plain[2:], "BER: a length that is not of its shortest form"),
        "long-integer": lie("BER: an integer that is not of its shortest form", info=_long_version()),
        "large": raw(plain + bytes(32_768), "more than 32,768 bytes"),
        "no-signer": lie("no signer", signers=0),
        "two-signers": lie("two signers", signers=2),
        "version-4": lie("CMS version 4", cms_version=4),
        "signer-version-3": lie("a signer of version 3", signer_version=3),
        "outer-type": lie("not CMS signed data", outer=tsa.DATA),
        "content-type": lie("content that is no TSTInfo", content_type=tsa.DATA),
        "signed-content-type": lie("signs another type of content", signed_content_type=tsa.DATA),
        "message-digest": lie("signs another content", message_digest=filler("digest")),
        "signer-sha1": lie("SHA-1 for the signature", digest=tsa.SHA1),
        "signature-of-other-hash": lie("ECDSA with another hash", signature_algorithm=tsa.ECDSA_SHA384),
        "signature-ed25519": lie("an algorithm that is not accepted", signature_algorithm="1.3.101.112"),
        "digest-not-listed": lie("the signer's hash is not listed", digests=[other]),
        "digest-twice": lie("a hash is listed twice", digests=[algorithm(tsa.SHA256)] * 2),
        "attribute-twice": lie("an attribute twice", attributes=[ess_v2(OTHER.certificate)]),
        "attribute-of-two-values": lie("an attribute with two values", attributes=[twice]),
        "attributes-unsorted": raw(_unsorted_attributes(plain), "signed attributes out of order"),
        "nine-certificates": lie("nine certificates", certificates=[sequence(integer(n)) for n in range(9)]),
        "large-certificate": lie("a certificate of 8193 bytes", certificates=[sequence(octets(bytes(8185)))]),
        "certificate-of-other-form": lie("something else among the certificates", certificates=[element(0xA3, b"")]),
        "info-version-2": lie("TSTInfo version 2", version=2),
        "info-behind": lie("something behind the TSTInfo's fields", extra=b"\x05\x00"),
        "info-empty": lie("an empty TSTInfo", info=sequence()),
        "imprint-sha1": lie("an imprint of SHA-1", imprint_algorithm=algorithm(tsa.SHA1), imprint=bytes(20)),
        "imprint-sha384": lie("an imprint of SHA-384", imprint_algorithm=other, imprint=bytes(48)),
        "imprint-short": lie("an imprint of 31 bytes", imprint=bytes(31)),
        "imprint-parameters": lie("parameters", imprint_algorithm=algorithm(tsa.SHA256, integer(1))),
        "serial-negative": lie("a negative serial number", serial=integer(-1)),
        "serial-large": lie("a serial number of 161 bits", serial=integer(2**160)),
        "serial-padded": lie("a serial number with a zero before it", serial=b"\x02\x02\x00\x01"),
        "serial-empty": lie("an empty integer", serial=b"\x02\x00"),
        "time-without-z": time("20261118110715", "no Z"),
        "time-offset": time("20261118110715+0000", "an offset"),
        "time-without-seconds": time("202611181107Z", "no seconds"),
        "time-comma": time("20261118110715,5Z", "a comma"),
        "time-trailing-zero": time("20261118110715.50Z", "a trailing zero"),
        "time-zero-fraction": time("20261118110715.0Z", "a fraction of zero"),
        "time-empty-fraction": time("20261118110715.Z", "a point without digits"),
        "time-ten-digits": time("20261118110715.0000000001Z", "ten digits of a fraction"),
        "time-leap-second": time("20261118235960Z", "a leap second"),
        "time-month-13": time("20261318110715Z", "month 13"),
        "time-february-30": time("20260230110715Z", "30 February"),
        "time-1969": time("19691231235959Z", "before 1970"),
        "time-arabic-digits": time("٢٠٢٦1118110715Z", "digits that are not ASCII"),
        "accuracy-seconds": lie("more than a day", accuracy=accuracy(86_401)),
        "accuracy-millis": lie("1000 ms", accuracy=accuracy(0, 1000)),
        "accuracy-negative": lie("a negative accuracy", accuracy=sequence(integer(-1))),
        "accuracy-order": lie("micros before millis", accuracy=swapped),
        "ordering-false": lie("an encoded default", ordering=b"\x01\x01\x00"),
        "ordering-01": lie("BER: TRUE as 01", ordering=b"\x01\x01\x01"),
        "nonce-negative": lie("a negative nonce", nonce=-1),
        "nonce-large": lie("a nonce of 257 bits", nonce=2**256),
        "policy-bomb": lie("an object identifier of more than 64 bytes", policy="1.3" + ".1" * 65),
        "critical-extension": lie("a critical extension", extra=extension("1.2.3", critical=True)),
        "long-tag": lie("a tag of two bytes", extra=b"\x1f\x1f\x00"),
    }


def _long_version() -> bytes:
    """A TSTInfo whose version is written in two bytes."""
    imprint = sequence(algorithm(tsa.SHA256), octets(filler("imprint")))
    time = element(0x18, b"20261118110715Z")
    return sequence(b"\x02\x02\x00\x01", oid(tsa.POLICY), imprint, integer(7), time)


def _unsorted_attributes(token: bytes) -> bytes:
    """The first two signed attributes the other way round."""
    first = attribute(tsa.CONTENT_TYPE, oid(tsa.TST_INFO))
    at = token.index(first)
    second = token[at + len(first) :][: 2 + token[at + len(first) + 1]]
    return token.replace(first + second, second + first)


def fields(found: Case) -> dict[str, Any]:
    """What a vector says of a case, beside what comes out."""
    named: dict[str, Any] = {"message": found.message}
    lists = {"root": found.trust.roots, "policy": found.trust.policies, "chain": found.chain}
    for name, values in {**lists, "crl": (*found.trust.crls, *found.crls)}.items():
        named |= {f"{name}_{number}": value for number, value in enumerate(values, 1)}
    return named | {"token": found.token}
