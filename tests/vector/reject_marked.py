"""Reject vectors of the carrier `datagram`: payloads that it leaves alone or refuses; what is no marked datagram."""

import cbor2

from tests.vector import sample
from tests.vector.accept import Vector, marked_map, pairs_of, plain_map
from tests.vector.key import filler

SIGN = cbor2.dumps("SIGN"), cbor2.dumps(filler("signature", 64))
SIGNED = b"".join(SIGN)
X = cbor2.dumps("X")
TIME, TOKEN = cbor2.dumps("INGESTION_TIME"), cbor2.dumps("VERIFICATION_TOKEN")
TIME_PAIR, TOKEN_PAIR = TIME + b"\x01", TOKEN + b"\x41\x00"


def marked_datagrams() -> dict[str, Vector]:
    """vectors/marked-datagram/reject."""
    made: dict[str, Vector] = {}
    for answer, cases in (("plain", _plain()), ("taken", _taken())):
        for name, (payload, reason) in cases.items():
            made[f"{answer}-{name}"] = {"payload": payload, "answer": answer, "reason": reason}
    for name, (marked, reason) in _unmarked().items():
        made[f"marked-{name}"] = {"marked": marked, "reason": reason}
    return made


def _plain() -> dict[str, tuple[bytes, str]]:
    good = plain_map([(X, b"\x01"), SIGN])
    indefinite = plain_map([(X, b"\x01"), SIGN], indefinite=True)
    cases = {
        "empty": (b"", "nothing"),
        "json": (b'{"TS": 1}', "JSON"),
        "array": (cbor2.dumps(["INGESTION_TIME"]), "an array"),
        "cose": (bytes.fromhex("d28443a10126a0") + cbor2.dumps(good) + SIGN[1], "a COSE message"),
        "empty-map": (b"\xa0", "an empty map"),
        "empty-map-indefinite": (b"\xbf\xff", "an empty map of indefinite length"),
        "tagged": (b"\xd9\xd9\xf7" + good, "a tag around the map"),
        "trailing-byte": (good + b"\0", "a byte after the map"),
        "trailing-map": (good + b"\xa1" + TIME_PAIR, "the broker's key in a second map after the first"),
        "indefinite-trailing-byte": (indefinite + b"\xff", "a byte after the map"),
        "cut": (good[:-1], "the last byte is missing"),
        "indefinite-cut": (indefinite[:-1], "the break is missing"),
        "head-long": (b"\xb8\x02" + good[1:], "head of the map not the shortest"),
        "head-more": (b"\xa3" + good[1:], "one pair more declared"),
        "head-less": (b"\xa1" + good[1:], "one pair less declared"),
        "head-huge": (b"\xbb" + b"\xff" * 8 + good[1:], "2^64-1 pairs declared"),
        "head-reserved": (b"\xbc" + good[1:], "a reserved head"),
        "pairs-65": (plain_map([*pairs_of({f"K{n}": n for n in range(64)}), SIGN]), "65 pairs"),
        "indefinite-65": (plain_map([*pairs_of({f"K{n}": n for n in range(64)}), SIGN], indefinite=True), "65 pairs"),
        "duplicate": (plain_map([(X, b"\x01"), (X, b"\x02"), SIGN]), "a key twice"),
        "sign-twice": (plain_map([SIGN, SIGN]), "SIGN twice"),
        "unsigned": (plain_map([(X, b"\x01")]), "no SIGN"),
        "sign-not-last": (plain_map([SIGN, (X, b"\x01")]), "a key after SIGN"),
        "sign-lower": (plain_map([(cbor2.dumps("sign"), SIGN[1])]), "a key that is not SIGN"),
        "sign-63": (plain_map([(SIGN[0], cbor2.dumps(bytes(63)))]), "SIGN of 63 bytes"),
        "sign-65": (plain_map([(SIGN[0], cbor2.dumps(bytes(65)))]), "SIGN of 65 bytes"),
        "sign-text": (plain_map([(SIGN[0], cbor2.dumps("x" * 64))]), "SIGN is text"),
        "sign-tagged": (plain_map([(SIGN[0], b"\xc1" + SIGN[1])]), "SIGN is tagged"),
        "sign-chunks": (plain_map([(SIGN[0], b"\x5f" + SIGN[1] + b"\xff")]), "SIGN in chunks"),
        "sign-value-missing": (b"\xa1" + SIGN[0], "SIGN without value"),
        "key-number": (plain_map([(b"\x01", b"\x01"), SIGN]), "a key that is a number"),
        "key-head-long": (plain_map([(b"\x78\x01X", b"\x01"), SIGN]), "a key not in its shortest form"),
        "key-chunks": (plain_map([(b"\x7f\x61X\xff", b"\x01"), SIGN]), "a key of indefinite length"),
        "key-not-utf8": (plain_map([(b"\x61\xff", b"\x01"), SIGN]), "a key that is not UTF-8"),
        "broker-key-bytes": (plain_map([(b"\x4eINGESTION_TIME", b"\x01"), SIGN]), "the broker's key as a byte string"),
        "other-key-tagged": (plain_map([(b"\xc1" + X, b"\x01"), SIGN]), "another key behind a tag"),
        "broker-key-in-array": (plain_map([(b"\x81" + TIME, b"\x01"), SIGN]), "the broker's key in an array"),
        "broker-key-cut": (b"\xbf" + TIME[:-1], "the broker's key cut off"),
        "broker-key-chunks-cut": (b"\xbf\x7f" + TIME, "the broker's key in chunks, without its end"),
        "broker-key-after-malformed": (b"\xbf" + X + b"\x1c" + TIME_PAIR, "behind a value that ends every reading"),
    }
    for depth in (17, 1023, 1024):
        value = b"\x81" * (depth - 2) + b"\x80"
        cases[f"nested-{depth}"] = (plain_map([(X, value), SIGN]), f"nested {depth} deep, the map included")
    for name, value in {
        "simple": b"\xf8\x18",
        "break": b"\x82\xff\x01",
        "map-odd": b"\xbf\x01\xff",
        "chunk": b"\x5f\x61a\xff",
        "chunk-in-chunk": b"\x5f\x5f\x41\0\xff\xff",
        "number": b"\x1f",
        "tag": b"\xdf\0\xff",
        "array-huge": b"\x9b" + b"\xff" * 8,
        "map-huge": b"\xbb\x80" + bytes(7),
        "bytes-huge": b"\x5b" + b"\xff" * 8,
    }.items():
        cases[f"malformed-{name}"] = (plain_map([(X, value), SIGN]), "a malformed value")
    return cases


def _taken() -> dict[str, tuple[bytes, str]]:
    time, value = "INGESTION_TIME", b"\x01"
    forms = {
        "head-1": b"\x78\x0e" + time.encode(),
        "head-2": b"\x79\0\x0e" + time.encode(),
        "head-4": b"\x7a" + (14).to_bytes(4, "big") + time.encode(),
        "head-8": b"\x7b" + (14).to_bytes(8, "big") + time.encode(),
        "chunk": b"\x7f" + TIME + b"\xff",
        "chunks": b"\x7f" + b"".join(map(cbor2.dumps, time)) + b"\xff",
        "chunks-empty": b"\x7f\x60" + cbor2.dumps("INGESTION") + b"\x60\x60" + cbor2.dumps("_TIME") + b"\x60\xff",
        "chunks-long-heads": b"\x7f\x7b" + (14).to_bytes(8, "big") + time.encode() + b"\x78\0\xff",
        "token-chunks": b"\x7f" + cbor2.dumps("VERIFICATION_") + cbor2.dumps("TOKEN") + b"\xff",
        "tagged": b"\xc1" + TIME,
        "self-described": b"\xd9\xd9\xf7" + TIME,
        "shared": b"\xd8\x1c" + TIME,
        "tagged-often": b"\xc1" * 2_000 + TOKEN,
        "tagged-chunks": b"\xd9\xd9\xf7\x7f" + TIME + b"\xff",
    }
    cases = {f"key-{name}": (plain_map([(key, value), SIGN]), "a key in another form") for name, key in forms.items()}
    cases |= {
        "time-first": (plain_map([(TIME, value), SIGN]), "INGESTION_TIME before SIGN"),
        "token-first": (plain_map([(TOKEN, value), SIGN]), "VERIFICATION_TOKEN before SIGN"),
        "time-last": (plain_map([SIGN, (TIME, value)]), "INGESTION_TIME after SIGN"),
        "indefinite": (plain_map([(X, value), (TIME, value), SIGN], indefinite=True), "in a map of indefinite length"),
        "marked": (marked_map([(X, value), SIGN], 1, b"token"), "a marked datagram sent again"),
        "unsigned": (plain_map([(TIME, value)]), "the broker's key alone"),
        "tagged": (b"\xd9\xd9\xf7" + plain_map([(TIME, value), SIGN]), "behind a tag"),
        "tagged-often": (b"\xc1" * 2_000 + plain_map([(TIME, value), SIGN]), "behind 2,000 tags"),
        "head-long": (b"\xb8\x01" + TIME + value, "in a map with a long head"),
        "head-huge": (b"\xbb" + b"\xff" * 8 + TIME, "in a map of 2^64-1 pairs"),
        "value-missing": (b"\xa1" + TIME, "cut off behind the key"),
        "value-malformed": (b"\xa1" + TIME + b"\x1c", "with a malformed value"),
        "trailing-bytes": (plain_map([(TIME, value)]) + b"\xff\0", "with bytes after the map"),
        "after-number-key": (plain_map([(b"\x01", value), (TIME, value)]), "behind a key that is a number"),
        "after-array-key": (plain_map([(b"\x81" + X, value), (TIME, value)]), "behind a key that is an array"),
        "after-chunks": (plain_map([(b"\x7f\x61X\xff", b"\x5f\x41\0\xff"), (TIME, value)]), "behind chunks"),
        "pair-1000": (plain_map([*pairs_of({f"K{n}": n for n in range(999)}), (TIME, value)]), "the 1,000th pair"),
        "after-1024": (plain_map([(X, b"\x81" * 1022 + b"\x80"), (TIME, value)]), "behind a value nested 1,024 deep"),
        "shared-reference": (plain_map([(X, b"\xd8\x1c" + TIME), (b"\xd8\x1d\0", value)]), "a key that is a reference"),
        "string-reference": (b"\xd9\1\0" + plain_map([(X, TIME), (b"\xd8\x19\0", value)]), "a key that is a reference"),
        "nested-1025": (plain_map([(X, b"\x81" * 1023 + b"\x80"), SIGN]), "nested deeper than a reader looks"),
    }
    return cases


def _unmarked() -> dict[str, tuple[bytes, str]]:
    x = X + b"\x01"
    token = cbor2.dumps(sample.FIRST_MARK_OBJECT)
    tail = TIME_PAIR + TOKEN + token
    many = b"".join(key + value for key, value in pairs_of({f"K{n}": n for n in range(64)}))
    good, indefinite = b"\xa4" + x + SIGNED + tail, b"\xbf" + x + SIGNED + tail + b"\xff"
    long_token = b"\x5a" + len(sample.FIRST_MARK_OBJECT).to_bytes(4, "big") + sample.FIRST_MARK_OBJECT

    def last(pairs: bytes, count: int = 4) -> bytes:
        return bytes([0xA0 + count]) + x + SIGNED + pairs

    return {
        "received": (b"\xa2" + x + SIGNED, "the payload as received"),
        "time-only": (last(TIME_PAIR, 3), "what a raw token signs"),
        "token-only": (last(TOKEN + token, 3), "no INGESTION_TIME"),
        "swapped": (last(TOKEN + token + TIME_PAIR), "the two keys in the other order"),
        "only-two": (b"\xa2" + tail, "nothing of a device"),
        "unsigned": (b"\xa3" + x + tail, "no SIGN"),
        "sign-63": (b"\xa3" + SIGN[0] + cbor2.dumps(bytes(63)) + tail, "SIGN of 63 bytes"),
        "sign-chunks": (b"\xa3" + SIGN[0] + b"\x5f" + SIGN[1] + b"\xff" + tail, "SIGN in chunks"),
        "sign-between": (b"\xa4" + x + TIME_PAIR + SIGNED + TOKEN + token, "INGESTION_TIME before SIGN"),
        "sign-last": (b"\xa4" + x + tail + SIGNED, "the keys before SIGN"),
        "one-more": (last(tail + cbor2.dumps("Y") + b"\x01", 5), "a key after the broker's"),
        "twice": (last(tail + tail, 6), "the broker's keys twice"),
        "time-twice": (last(TIME_PAIR + tail, 5), "INGESTION_TIME twice"),
        "time-chunks": (last(b"\x7f" + TIME + b"\xff\x01" + TOKEN + token), "INGESTION_TIME in chunks"),
        "time-key-long": (last(b"\x78\x0e" + TIME[1:] + b"\x01" + TOKEN + token), "its head not shortest"),
        "token-key-long": (last(TIME_PAIR + b"\x78\x12" + TOKEN[1:] + token), "its head not shortest"),
        "time-long": (last(TIME + b"\x18\x01" + TOKEN + token), "a time not in its shortest form"),
        "time-negative": (last(TIME + b"\x20" + TOKEN + token), "a negative time"),
        "time-float": (last(TIME + b"\xf9\x3c\x00" + TOKEN + token), "a time that is a float"),
        "time-tagged": (last(TIME + b"\xc1\x01" + TOKEN + token), "a tagged time"),
        "token-text": (last(TIME_PAIR + TOKEN + b"\x61x"), "a token that is text"),
        "token-long": (last(TIME_PAIR + TOKEN + long_token), "a token whose head is not shortest"),
        "token-chunks": (last(TIME_PAIR + TOKEN + b"\x5f" + token + b"\xff"), "a token in chunks"),
        "token-tagged": (last(TIME_PAIR + TOKEN + b"\xc1" + token), "a tagged token"),
        "head-long": (b"\xb8\x04" + good[1:], "head of the map not shortest"),
        "head-less": (b"\xa3" + good[1:], "one pair less declared"),
        "trailing-byte": (good + b"\0", "a byte after the map"),
        "cut": (good[:-1], "the last byte is missing"),
        "indefinite-cut": (indefinite[:-1], "the break is missing"),
        "tagged": (b"\xc1" + good, "a tag around the map"),
        "pairs-67": (b"\xb8\x43" + many + SIGNED + tail, "65 pairs of a device"),
        "nested-17": (b"\xa4" + X + b"\x81" * 15 + b"\x80" + SIGNED + tail, "nested 17 deep"),
        "duplicate": (b"\xa5" + x + x + SIGNED + tail, "a key twice"),
    }
