"""Reject vectors of the COSE objects: each is well signed and differs from a good object in one thing only."""

from dataclasses import dataclass, replace

import cbor2

from sigillo.core import cose
from sigillo.core.cose import Form
from tests.vector.key import Sign, filler

Cases = dict[str, tuple[bytes, str]]
"""Name of the case → the object and why it is refused."""

KIND_FORMS = (
    cose.MARK,
    cose.BATCH_MARK,
    cose.EPOCH_STATEMENT,
    cose.EPOCH_END,
    cose.SEAL,
    cose.READING,
    cose.REGISTRATION,
)


@dataclass(frozen=True)
class Raw:
    """Parts of an object before they are put together, free of the encoder's checks."""

    form: Form
    sign: Sign
    kid: object = None
    payload: bytes = b""
    unprotected: bytes = b"\xa0"
    algorithm: int = cose.ED25519
    external_aad: bytes = b""
    protected: bytes | None = None

    def header(self, **changes: object) -> bytes:
        """Protected header in deterministic order; a label given as `None` is left out. Labels: alg, kid, typ, x…"""
        signed = {"alg": self.algorithm} if self.form.algorithms else {}
        values = signed | ({} if self.kid is None else {"kid": self.kid}) | {"typ": self.form.typ} | changes
        labels = {"alg": 1, "crit": 2, "content_type": 3, "kid": 4, "x5chain": 33, "typ": 16}
        pairs = sorted((labels[name], value) for name, value in values.items() if value is not None)
        return cbor2.dumps(dict(pairs))

    def build(self, head: bytes | None = None, signature: bytes | None = None, tail: bytes = b"") -> bytes:
        """The object: `head` are the bytes before the first item of the array."""
        protected = self.header() if self.protected is None else self.protected
        encoded = cbor2.dumps(protected) + self.unprotected + cbor2.dumps(self.payload)
        if self.form.algorithms:
            structure = cbor2.dumps(["Signature1", protected, self.external_aad, self.payload])
            encoded += cbor2.dumps(self.sign(structure)) if signature is None else signature
        if head is None:
            head = b"\xd2\x84" if self.form.algorithms else b"\x83"
        return head + encoded + tail


def container_cases(good: Raw) -> Cases:
    """What may go wrong outside the payload, for any form."""
    return _array_cases(good) | _header_cases(good) | _unprotected_cases(good) | _signature_cases(good)


def _array_cases(good: Raw) -> Cases:
    tag, items = (b"\xd2", 4) if good.form.algorithms else (b"", 3)
    cases: Cases = {
        "trailing-byte": (good.build(tail=b"\0"), "a byte after the object"),
        "cut": (good.build()[:-1], "the last byte is missing"),
        "one-item-more": (good.build(tag + bytes([0x81 + items]), tail=b"\0"), "one item more in the array"),
        "one-item-less": (good.build(tag + bytes([0x7F + items])), "one item less in the array than there is"),
        "array-head-long": (good.build(tag + b"\x98" + bytes([items])), "head of the array not the shortest"),
        "array-indefinite": (good.build(tag + b"\x9f", tail=b"\xff"), "array of indefinite length"),
        "array-huge": (good.build(tag + b"\x9b" + b"\xff" * 8), "array of 2^64-1 items declared"),
        "empty": (b"", "nothing"),
        "only-tag": (tag or b"\x83", "nothing after the first byte"),
        "tag-98": (b"\xd8\x62" + good.build()[len(tag) :], "tag 98 (COSE_Sign)"),
        "nested-bomb": (tag + b"\x81" * 5000 + b"\0", "arrays nested 5000 deep"),
    }
    if tag:
        cases["untagged"] = (good.build(b"\x84"), "no tag 18")
        cases["tag-long"] = (good.build(b"\xd8\x12\x84"), "tag 18 not in its shortest form")
        cases["tag-twice"] = (good.build(b"\xd2\xd2\x84"), "tag 18 twice")
    else:
        cases["tagged"] = (good.build(b"\xd2\x83"), "tag 18 on a batch mark")
    return cases


def _header_cases(good: Raw) -> Cases:
    def changed(reason: str, **changes: object) -> tuple[bytes, str]:
        return replace(good, protected=good.header(**changes)).build(), reason

    def raw(protected: bytes, reason: str) -> tuple[bytes, str]:
        return replace(good, protected=protected).build(), reason

    header = good.header()
    cases = {
        "typ-missing": changed("no typ", typ=None),
        "typ-uint": changed("typ is a number", typ=18),
        "typ-upper-case": changed("typ in other case", typ=good.form.typ.upper()),
        "crit": changed("a label too many: crit", crit=[16]),
        "content-type": changed("a label too many: content type", content_type="application/cbor"),
        "x5chain": changed("a label too many: x5chain", x5chain=b"\x30\x00"),
        "protected-empty": raw(b"", "empty protected header"),
        "protected-array": raw(b"\x80", "the protected header is an array"),
        "protected-trailing-byte": raw(header + b"\0", "a byte after the protected header"),
        "protected-head-long": raw(b"\xb8" + bytes([header[0] & 0x1F]) + header[1:], "head not the shortest"),
        "protected-indefinite": raw(b"\xbf" + header[1:] + b"\xff", "protected header of indefinite length"),
        "protected-duplicate": raw(_duplicate_typ(header), "typ twice in the protected header"),
        "protected-unsorted": raw(_typ_first(good), "labels not in order"),
    }
    for other in KIND_FORMS:
        if other is not good.form:
            cases[f"typ-{other.kind}"] = changed(f"typ of another kind: {other.kind}", typ=other.typ)
    if good.form.algorithms:
        for name, algorithm in {"eddsa": -8, "es256": -7, "ed448": -53, "es384": -35, "zero": 0}.items():
            cases[f"alg-{name}"] = changed(f"alg {algorithm}", alg=algorithm)
        if cose.ESP256 not in good.form.algorithms:
            cases["alg-esp256"] = changed("alg -9", alg=cose.ESP256)
        cases["alg-missing"] = changed("no alg", alg=None)
        cases["alg-text"] = changed("alg is text", alg="Ed25519")
    else:
        cases["alg-present"] = changed("alg in an unsigned object", alg=cose.ED25519)
    if good.form.kid is None:
        cases["kid-present"] = changed("a kid where none belongs", kid=filler("epoch id"))
    else:
        cases["kid-missing"] = changed("no kid", kid=None)
        cases["kid-text"] = changed("kid is text", kid="x" * 32)
        cases["kid-empty"] = changed("kid is empty", kid=b"")
        if good.form.kid == (32, 32):
            cases["kid-31"] = changed("kid of 31 bytes", kid=bytes(31))
            cases["kid-33"] = changed("kid of 33 bytes", kid=bytes(33))
    return cases


def _duplicate_typ(header: bytes) -> bytes:
    typ = cbor2.dumps(cbor2.loads(header)[cose.TYP])
    return bytes([header[0] + 1]) + header[1:] + b"\x10" + typ


def _typ_first(good: Raw) -> bytes:
    pairs = cbor2.loads(good.header())
    if len(pairs) == 1:
        return cbor2.dumps({cose.TYP: good.form.typ, cose.ALG: cose.ED25519})
    return cbor2.dumps({cose.TYP: pairs.pop(cose.TYP), **pairs})


def _unprotected_cases(good: Raw) -> Cases:
    def put(values: object, reason: str) -> tuple[bytes, str]:
        return replace(good, unprotected=values if isinstance(values, bytes) else cbor2.dumps(values)).build(), reason

    own = cbor2.loads(good.unprotected)
    cases = {
        "unprotected-label": put({**own, 99: 0}, "an unknown label in the unprotected header"),
        "unprotected-kid": put({**own, 4: filler("epoch id")}, "kid in the unprotected header"),
        "unprotected-typ": put({**own, 16: good.form.typ}, "typ in the unprotected header"),
        "unprotected-text-label": put({**own, "x": 0}, "a text label in the unprotected header"),
        "unprotected-null": put(None, "the unprotected header is null"),
        "unprotected-array": put([], "the unprotected header is an array"),
        "unprotected-indefinite": put(b"\xbf" + good.unprotected[1:] + b"\xff", "of indefinite length"),
        "unprotected-huge": put(b"\xbb" + b"\xff" * 8, "a map of 2^64-1 pairs declared"),
        "unprotected-many": put(dict.fromkeys(range(1000), 0), "a map of 1000 pairs"),
    }
    if cose.SALT in good.form.unprotected:
        cases["salt-15"] = put({cose.SALT: bytes(15)}, "salt of 15 bytes")
        cases["salt-17"] = put({cose.SALT: bytes(17)}, "salt of 17 bytes")
        cases["salt-text"] = put({cose.SALT: "x" * 16}, "salt is text")
        cases["salt-null"] = put({cose.SALT: None}, "salt is null")
        cases["salt-label-long"] = put(
            bytes.fromhex("a13b0000000000010000") + b"\x50" + bytes(16), "label not shortest"
        )
        cases["salt-twice"] = put(
            b"\xa2" + 2 * (cbor2.dumps(cose.SALT) + cbor2.dumps(bytes(16))), "salt twice in the unprotected header"
        )
    else:
        cases["salt"] = put({cose.SALT: bytes(16)}, "a salt where none belongs")
    if cose.COUNTERSIGNATURE not in good.form.unprotected:
        own_header = cbor2.dumps({1: cose.ED25519, 4: filler("log key id")})
        cases["countersignature"] = put({11: [own_header, {}, bytes(64)]}, "a countersignature where none belongs")
    return cases


def _signature_cases(good: Raw) -> Cases:
    if not good.form.algorithms:
        signed = good.build(b"\x84", tail=cbor2.dumps(bytes(64)))
        return {"signed": (signed, "a signature on a batch mark")}
    return {
        "signature-63": (good.build(signature=cbor2.dumps(bytes(63))), "signature of 63 bytes"),
        "signature-65": (good.build(signature=cbor2.dumps(bytes(65))), "signature of 65 bytes"),
        "signature-empty": (good.build(signature=b"\x40"), "signature of no bytes"),
        "signature-null": (good.build(signature=b"\xf6"), "signature is null"),
        "signature-text": (good.build(signature=cbor2.dumps("x" * 64)), "signature is text"),
        "signature-huge": (good.build(signature=b"\x5b" + b"\xff" * 8), "signature of 2^64-1 bytes declared"),
        "signature-indefinite": (
            good.build(signature=b"\x5f" + cbor2.dumps(bytes(64)) + b"\xff"),
            "signature of indefinite length",
        ),
        "payload-detached": (
            cbor2.dumps(cbor2.CBORTag(18, [good.header(), {}, None, bytes(64)])),
            "the payload is null (detached)",
        ),
        "payload-text": (
            cbor2.dumps(cbor2.CBORTag(18, [good.header(), {}, "payload", bytes(64)])),
            "the payload is text",
        ),
    }


def payload_cases(good: Raw, required: tuple[int, ...], highest: int, *, floats: dict[int, str]) -> Cases:
    """What may go wrong with any payload map. `floats`: keys of integers, with their names."""

    def put(payload: bytes, reason: str) -> tuple[bytes, str]:
        return replace(good, payload=payload).build(), reason

    values = cbor2.loads(good.payload)
    pairs = good.payload[1:]
    count = good.payload[0] & 0x1F
    assert good.payload[0] == 0xA0 + count
    unsorted = {key: values[key] for key in reversed(list(values))}
    cases = {
        "payload-empty": put(b"", "an empty payload"),
        "payload-empty-map": put(b"\xa0", "an empty map"),
        "payload-array": put(cbor2.dumps(list(values.values())), "the payload is an array"),
        "payload-trailing-byte": put(good.payload + b"\0", "a byte after the payload"),
        "payload-cut": put(good.payload[:-1], "the payload is cut off"),
        "payload-unsorted": put(cbor2.dumps(unsorted), "keys not in order"),
        "payload-indefinite": put(b"\xbf" + pairs + b"\xff", "a map of indefinite length"),
        "payload-head-long": put(b"\xb8" + bytes([count]) + pairs, "head of the map not the shortest"),
        "payload-duplicate": put(_twice(good.payload), "key 1 twice"),
        "payload-key-long": put(good.payload[:1] + b"\x18\x01" + good.payload[2:], "key 1 not in its shortest form"),
        "payload-version-long": put(
            good.payload[:2] + b"\x18\x01" + good.payload[3:], "version not in its shortest form"
        ),
        "payload-key-negative": put(cbor2.dumps({**values, -1: 0}), "unknown key -1"),
        "payload-key-text": put(cbor2.dumps({**values, "x": 0}), "a text key"),
        "payload-key-bytes": put(cbor2.dumps({**values, b"x": 0}), "a byte string key"),
        "payload-key-unknown": put(cbor2.dumps({**values, highest + 1: 0}), f"unknown key {highest + 1}"),
        "payload-key-0": put(cbor2.dumps({0: 0, **values}), "unknown key 0"),
        "payload-tag": put(b"\xc1" + good.payload, "a tag around the payload"),
        "payload-tagged-value": put(good.payload[:2] + b"\xc1\x01" + good.payload[3:], "a tagged version"),
        "payload-undefined": put(good.payload[:2] + b"\xf7" + good.payload[3:], "version is undefined"),
        "payload-simple": put(good.payload[:2] + b"\xe1" + good.payload[3:], "version is a simple value"),
        "payload-bool": put(cbor2.dumps({**values, 1: True}), "version is true"),
        "payload-bignum": put(good.payload[:2] + b"\xc2\x41\x01" + good.payload[3:], "version is a big number"),
        "payload-nested": put(good.payload[:2] + b"\x81" * 17 + b"\x01" + good.payload[3:], "nested 18 deep"),
        "payload-bomb": put(good.payload[:2] + b"\x81" * 4_000 + b"\x01" + good.payload[3:], "nested 4,001 deep"),
        "payload-bytes-huge": put(good.payload[:2] + b"\x5b" + b"\x7f" * 8 + good.payload[3:], "2^63 bytes declared"),
        "version-0": put(cbor2.dumps({**values, 1: 0}), "version 0"),
        "version-2": put(cbor2.dumps({**values, 1: 2}), "version 2"),
    }
    for key in required:
        rest = {other: value for other, value in values.items() if other != key}
        cases[f"key-{key}-missing"] = put(cbor2.dumps(rest), f"key {key} missing")
        cases[f"key-{key}-map"] = put(cbor2.dumps({**values, key: {}}), f"key {key} is a map")
    for key, name in floats.items():
        slug = name.replace(" ", "-")
        cases[f"{slug}-float"] = put(cbor2.dumps({**values, key: float(values[key])}), f"{name} is a float")
        cases[f"{slug}-too-big"] = put(cbor2.dumps({**values, key: 2**64}), f"{name} is 2^64, a big number")
        cases[f"{slug}-text"] = put(cbor2.dumps({**values, key: "1"}), f"{name} is text")
        cases[f"{slug}-bool"] = put(cbor2.dumps({**values, key: True}), f"{name} is true")
    return cases


def changed_cases(good: Raw, changes: dict[str, tuple[dict[int, object], str]]) -> Cases:
    """One case per name: keys of the payload map that get another value."""
    values = cbor2.loads(good.payload)
    return {
        name: (replace(good, payload=cbor2.dumps(dict(sorted({**values, **change}.items())))).build(), reason)
        for name, (change, reason) in changes.items()
    }


def _twice(payload: bytes) -> bytes:
    return bytes([payload[0] + 1]) + payload[1:3] + payload[1:]
