"""Chains of certificates that count and that do not, by name: unit tests, vectors and the comparison with OpenSSL."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from ..adversary.broker import START_NS
from ..adversary.device import Device, ed25519_key, p256_key
from ..adversary.maker import (
    AUTHORITY,
    DAY,
    DOCUMENT_SIGNING,
    NAME_CONSTRAINTS,
    NO_CA,
    START,
    UNKNOWN,
    Form,
    Maker,
    der,
    named,
    usage,
)

MAKER = Maker()
OTHER = Maker("Other Trackers")
CRATE, SECOND = Device("crate-1", "p256"), Device("crate-2", "ed25519")
SECOND_NS = 10**9


def ca(path_length: int | None = None) -> x509.BasicConstraints:
    return x509.BasicConstraints(ca=True, path_length=path_length)


@dataclass(frozen=True)
class Case:
    """A chain (leaf first, DER), the CA that it should lead to, and the time at which it is judged.

    *reason*: what the refusal says, empty where the chain counts. *stricter*: why OpenSSL does accept what is refused.
    """

    chain: Sequence[bytes]
    ca: bytes = der([MAKER.certificate])[0]
    device: str = CRATE.id
    time_ns: int = START_NS
    reason: str = ""
    stricter: str = ""


def case(chain: Sequence[x509.Certificate], maker: Maker | None = None, **rest: object) -> Case:
    return Case(der(chain), der([(maker or MAKER).certificate])[0], **rest)


def large(curve: ec.EllipticCurve) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(0x5161110, curve)


def accepted() -> dict[str, Case]:
    three = MAKER.below("Fleet").below("Line").below("Week")
    below = MAKER.below("Fleet")
    leaf = MAKER.certify(CRATE)
    p384, p521 = Maker("P-384", large(ec.SECP384R1())), Maker("P-521", large(ec.SECP521R1()))
    ed25519 = Maker("Ed25519", ed25519_key("maker"))
    one_below = Maker("One below", form=authority(constraints=ca(1)))
    identified = [
        (x509.SubjectKeyIdentifier(b"\x01" * 20), False),
        (x509.AuthorityKeyIdentifier(b"\x02" * 20, None, None), False),
        (x509.SubjectAlternativeName([x509.DNSName("other")]), False),
    ]
    uses = x509.ExtendedKeyUsage
    return {
        "direct": case(leaf),
        "ed25519-leaf": case(MAKER.certify(SECOND), device=SECOND.id),
        "three-intermediates": case(three.certify(CRATE)),
        "p384-ca": case(p384.certify(CRATE, digest=hashes.SHA384()), p384),
        "p521-ca": case(p521.certify(CRATE, digest=hashes.SHA512()), p521),
        "ed25519-ca": case(ed25519.certify(CRATE), ed25519),
        "path-length-used-up": case(one_below.below("Fleet", constraints=ca(0)).certify(CRATE), one_below),
        "ca-that-does-not-sign-itself": case(below.certify(CRATE)[:1], below),
        "chain-goes-on-above-the-ca": case(below.certify(CRATE), below),
        "first-instant": case(leaf, time_ns=START_NS - 30 * 86400 * SECOND_NS),
        "last-second": case(leaf, time_ns=START_NS + 335 * 86400 * SECOND_NS - 1),
        "for-documents": case(MAKER.certify(CRATE, extended=uses([ExtendedKeyUsageOID.CLIENT_AUTH, DOCUMENT_SIGNING]))),
        "for-documents-critical": case(MAKER.certify(CRATE, further=[(uses([DOCUMENT_SIGNING]), True)])),
        "for-anything": case(MAKER.certify(CRATE, extended=uses([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]))),
        "leaf-without-constraints": case(MAKER.certify(CRATE, constraints=None)),
        "unknown-extensions": case(MAKER.certify(CRATE, further=[(UNKNOWN, False), *identified])),
        "other-attributes-in-the-subject": case(MAKER.certify(CRATE, subject=organised(CRATE.id))),
    }


def organised(common_name: str) -> x509.Name:
    organisation = x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Example")
    return x509.Name([organisation, *named(common_name)])


def authority(**changes: Any) -> Form:
    return dataclasses.replace(AUTHORITY, **changes)


def refused() -> dict[str, Case]:
    """Well-formed certificates in chains that do not count."""
    return {**_names(), **_uses(), **_times(), **_paths(), **_extensions()}


def _names() -> dict[str, Case]:
    """Whose certificate it is."""
    no_name = "OpenSSL asks for no particular subject here"
    twin = Maker(MAKER.name, p256_key("twin"))
    identified = Maker("Identified", form=authority(further=[(x509.SubjectKeyIdentifier(b"\x01" * 20), False)]))
    self_signed = Maker(CRATE.id, form=authority(constraints=NO_CA, key_usage=usage(digital_signature=True)))
    return {
        "of-another-device": case(MAKER.certify(SECOND), reason="crate-2", stricter=no_name),
        "common-name-twice": case(MAKER.certify(CRATE, CRATE.id, CRATE.id), reason="2 common names", stricter=no_name),
        "common-names-of-two": case(MAKER.certify(CRATE, CRATE.id, "x"), reason="2 common names", stricter=no_name),
        "no-common-name": case(MAKER.certify(CRATE, subject=x509.Name([])), reason="0 common", stricter=no_name),
        "common-name-in-capitals": case(MAKER.certify(CRATE, "CRATE-1"), reason="CRATE-1", stricter=no_name),
        "common-name-with-a-space": case(MAKER.certify(CRATE, "crate-1 "), reason="is of", stricter=no_name),
        "another-maker": case(OTHER.certify(CRATE), reason="was not issued by"),
        "another-maker-under-the-same-name": case(twin.certify(CRATE), reason="is not signed by the key of its issuer"),
        "issuer-named-otherwise": case(MAKER.certify(CRATE, issuer_name="Other"), reason="was not issued by"),
        "self-signed": case([self_signed.certificate], reason="was not issued by"),
        "the-ca-itself": case(
            [MAKER.certificate], reason="is the maker's CA itself", stricter="OpenSSL asks for no leaf"
        ),
        "another-key-identifier": case(
            identified.certify(CRATE, further=[(x509.AuthorityKeyIdentifier(b"\x02" * 20, None, None), False)]),
            identified,
            reason="names another issuer's key",
        ),
    }


def _uses() -> dict[str, Case]:
    """What a certificate and its key may be used for."""
    no_purpose = "OpenSSL asks for no particular purpose here"
    client = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.EMAIL_PROTECTION])
    p384 = large(ec.SECP384R1()).public_key()
    no_usage = MAKER.below("Fleet", key_usage=None)
    return {
        "leaf-is-a-ca": case(MAKER.certify(CRATE, constraints=ca()), reason="not a device's", stricter=no_purpose),
        "leaf-without-key-usage": case(MAKER.certify(CRATE, key_usage=None), reason="key usage", stricter=no_purpose),
        "leaf-for-encryption": case(
            MAKER.certify(CRATE, key_usage=usage(key_encipherment=True)), reason="key usage", stricter=no_purpose
        ),
        "leaf-for-tls-clients": case(MAKER.certify(CRATE, extended=client), reason="extended", stricter=no_purpose),
        "p384-leaf": case(MAKER.certify(p384, CRATE.id), reason="neither a P-256", stricter="OpenSSL verifies P-384"),
        "p256k1-leaf": case(
            MAKER.certify(large(ec.SECP256K1()).public_key(), CRATE.id),
            reason="neither",
            stricter="OpenSSL knows secp256k1",
        ),
        "intermediate-without-key-usage": case(
            no_usage.certify(CRATE), reason="key usage", stricter="OpenSSL takes an absent key usage for any"
        ),
        "intermediate-not-for-certificates": case(
            MAKER.below("Fleet", key_usage=usage(digital_signature=True)).certify(CRATE), reason="key usage"
        ),
        "sha-224": case(
            MAKER.certify(CRATE, digest=hashes.SHA224()), reason="algorithm", stricter="OpenSSL still verifies SHA-224"
        ),
    }


def _times() -> dict[str, Case]:
    """Every certificate of the chain is judged at the time of the mark."""
    expired, soon = {"not_after": START - DAY}, {"not_before": START + DAY}
    old = Maker("Old", form=authority(**expired))
    return {
        "expired": case(MAKER.certify(CRATE, **expired), reason="is valid"),
        "not-yet-valid": case(MAKER.certify(CRATE, **soon), reason="is valid"),
        "intermediate-expired": case(MAKER.below("Fleet", **expired).certify(CRATE), reason="is valid"),
        "intermediate-not-yet-valid": case(MAKER.below("Fleet", **soon).certify(CRATE), reason="is valid"),
        "ca-expired": case(old.certify(CRATE), old, reason="is valid"),
        "a-second-too-late": case(
            MAKER.certify(CRATE), time_ns=START_NS + 335 * 86400 * SECOND_NS + SECOND_NS, reason="is valid"
        ),
        "an-instant-too-early": case(
            MAKER.certify(CRATE), time_ns=START_NS - 30 * 86400 * SECOND_NS - 1, reason="is valid"
        ),
    }


def _paths() -> dict[str, Case]:
    """How the certificates hang together."""
    order = "OpenSSL puts a chain into order"
    none_below = Maker("None below", form=authority(constraints=ca(0)))
    fleet = MAKER.below("Fleet")
    four = fleet.below("Line").below("Week").below("Day")
    narrow = MAKER.below("Fleet", constraints=ca(0)).below("Line")
    leaf, above, above_that = fleet.below("Line").certify(CRATE)
    device_as_ca = Maker(
        "crate-9", issuer=MAKER, form=authority(constraints=NO_CA, key_usage=usage(digital_signature=True))
    )
    return {
        "device-certifies-another": case(device_as_ca.certify(CRATE), reason="is not a CA's"),
        "device-certifies-another-with-key-usage": case(
            Maker("crate-9", issuer=MAKER, form=authority(constraints=NO_CA)).certify(CRATE), reason="is not a CA's"
        ),
        "intermediate-without-constraints": case(
            MAKER.below("Fleet", constraints=None).certify(CRATE), reason="is not a CA's"
        ),
        "path-length-0": case(none_below.below("Fleet").certify(CRATE), none_below, reason="allows 0 intermediates"),
        "path-length-of-an-intermediate": case(narrow.certify(CRATE), reason="allows 0 intermediates"),
        "four-intermediates": case(four.certify(CRATE), reason="more than 4", stricter="OpenSSL goes on to 100"),
        "intermediate-missing": case([leaf, above_that], reason="was not issued by"),
        "out-of-order": case([leaf, above_that, above], reason="was not issued by", stricter=order),
        "one-too-many": case([leaf, above, above_that, OTHER.certificate], reason="was not issued", stricter=order),
        "leaf-last": case([above, leaf], reason="was not issued by"),
    }


def _extensions() -> dict[str, Case]:
    constraints, critical = (NAME_CONSTRAINTS, False), [(UNKNOWN, True)]
    policy = x509.PolicyConstraints(0, None)
    unknown, names = "critical extension that is not understood", "name constraints"
    constrained = Maker("Constrained", form=authority(further=[constraints]))
    understood = "OpenSSL understands it, and nothing in the certificates contradicts it"
    return {
        "critical-extension": case(MAKER.certify(CRATE, further=critical), reason=unknown),
        "critical-extension-above": case(MAKER.below("Fleet", further=critical).certify(CRATE), reason=unknown),
        "name-constraints-above": case(
            MAKER.below("Fleet", further=[(NAME_CONSTRAINTS, True)]).certify(CRATE), reason=names, stricter=understood
        ),
        "name-constraints-not-critical": case(
            MAKER.below("Fleet", further=[constraints]).certify(CRATE), reason=names, stricter=understood
        ),
        "name-constraints-of-the-ca": case(constrained.certify(CRATE), constrained, reason=names, stricter=understood),
        "policy-constraints": case(
            MAKER.below("Fleet", further=[(policy, True)]).certify(CRATE), reason=unknown, stricter=understood
        ),
    }


def unreadable() -> dict[str, Case]:
    """What is no certificate to begin with."""
    good = der(MAKER.certify(CRATE))[0]
    version, serial = b"\xa0\x03\x02\x01\x02", b"\x02\x01\x02"
    assert good.count(version + serial) == 1 and good[:2] == b"\x30\x82"
    long_length = b"\x30\x83\x00" + good[2:]
    no_certificate = "is not X.509 version 3 in DER"
    return {
        "empty": Case([b""], reason=no_certificate),
        "not-der": Case([b"certificate"], reason=no_certificate),
        "version-1": Case([good.replace(version, b"\xa0\x03\x02\x01\x00")], reason=no_certificate),
        "serial-zero": Case([good.replace(version + serial, version + b"\x02\x01\x00")], reason=no_certificate),
        "serial-negative": Case([good.replace(version + serial, version + b"\x02\x01\x82")], reason=no_certificate),
        "long-form-length": Case([long_length], reason=no_certificate),
        "cut-off": Case([good[:-1]], reason="is not an X.509 certificate"),
        "bytes-after-it": Case([good + b"\0"], reason="is not an X.509 certificate"),
        "too-large": Case([good + bytes(8192)], reason="is larger than"),
        "pem": Case([MAKER.certificate.public_bytes(Encoding.PEM)], reason=no_certificate),
    }
