"""Reject vectors of what a TPM says: each is well signed, by whoever has the key, and wrong in one thing only."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cbor2

from sigillo.core import cbor, cose
from sigillo.core.attestation import AttestationEvidence, encode_attestation
from sigillo.core.endorsement import encode_registration, registrar_id
from sigillo.core.event_log import EventType, LoggedEvent, encode_event, encode_event_log, encode_log_header, replay
from sigillo.core.launch import EpochEvent, Role, encode_closure, encode_launch_event
from sigillo.core.process_state import encode_process_state
from sigillo.core.quote import LAUNCH_PCR
from sigillo.core.tpm import ATTRIBUTES, KEY_ATTRIBUTES, decode_attestation_key
from tests.adversary.tpm import LyingTpm, RawKey
from tests.vector import accept_ima, accept_tpm
from tests.vector.accept_tpm import BOOT, IDENTITY, REGISTRAR, Vector, hashed, launched, quote_fields, tagged
from tests.vector.key import Ed25519Key, P256Key, filler
from tests.vector.reject_cose import Cases, Raw, changed_cases, container_cases, payload_cases
from tests.vector.sample import EPOCH_ID
from tests.vector.sample_tpm import CHALLENGED, CLOSING, CLOSURE, LAUNCHES, NONCE, OPENING, PROCESS

OTHER_KEY = P256Key(filler("other attestation key"))
GOOD = launched().quote(OPENING)
KEY_NAME = decode_attestation_key(GOOD.key_bytes).name


def quotes() -> dict[str, Vector]:
    """vectors/quote/reject."""
    malformed = {**_attests(), **_keys(), **_signatures()}
    made = {name: quote_fields(evidence) | {"reason": reason} for name, (evidence, reason) in malformed.items()}
    for name, (evidence, reason) in _untrue().items():
        made[name] = quote_fields(evidence) | {"key_name": KEY_NAME, "reason": reason}
    return made


def _attests() -> dict[str, tuple[AttestationEvidence, str]]:
    """Quotes that are none."""

    def lie(**lies: Any) -> AttestationEvidence:
        return launched().quote(OPENING, **lies)

    signs_again = launched()
    cut = GOOD.attest_bytes[:-1]
    longer = GOOD.attest_bytes + b"\0"
    return {
        "magic": (lie(magic=0xFF544346), "not TPM_GENERATED: signed by a key that signs anything"),
        "type-time": (lie(attest_type=0x8019), "the attest of a clock (TPM2_GetTime)"),
        "type-certify": (lie(attest_type=0x8017), "the attest of a key (TPM2_Certify)"),
        "signer-short": (lie(signer=bytes(33)), "a qualified name of 33 bytes"),
        "extra-65": (lie(extra=bytes(65)), "qualifying data of 65 bytes"),
        "safe-2": (lie(safe=2), "safe is 2"),
        "no-bank": (lie(banks=()), "no bank selected"),
        "empty-selection": (lie(banks=((0x000B, bytes(3)),)), "no PCR selected"),
        "bank-sha1": (lie(banks=((0x0004, b"\xff\x7f\x00"),)), "the SHA-1 bank"),
        "bank-sha384": (lie(banks=((0x000C, b"\xff\x7f\x00"),)), "the SHA-384 bank"),
        "two-banks": (lie(banks=((0x000B, b"\xff\x7f\x00"), (0x0004, b"\xff\x7f\x00"))), "SHA-1 besides"),
        "bank-twice": (lie(banks=((0x000B, b"\xff\x7f\x00"), (0x000B, b"\xff\x7f\x00"))), "the bank twice"),
        "select-2-bytes": (lie(banks=((0x000B, b"\xff\x7f"),)), "a selection of two bytes"),
        "select-4-bytes": (lie(banks=((0x000B, b"\xff\x7f\x00\x00"),)), "a selection of four bytes"),
        "digest-20": (lie(digest=bytes(20)), "a PCR digest of 20 bytes"),
        "cut": (replace(GOOD, attest_bytes=cut, signature_bytes=signs_again.sign(cut)), "the last byte is missing"),
        "trailing-byte": (replace(GOOD, attest_bytes=longer, signature_bytes=signs_again.sign(longer)), "a byte more"),
        "empty": (replace(GOOD, attest_bytes=b"", signature_bytes=signs_again.sign(b"")), "nothing"),
    }


def _keys() -> dict[str, tuple[AttestationEvidence, str]]:
    """Keys that are not of the one form of an AK."""
    changes: dict[str, tuple[dict[str, Any], str]] = {
        "key-type": ({"key_type": 0x0001}, "the type is RSA"),
        "key-name-sha1": ({"name_algorithm": 0x0004}, "named by SHA-1"),
        "key-policy": ({"policy": bytes(32)}, "a policy"),
        "key-symmetric": ({"symmetric": 0x0006}, "a symmetric algorithm"),
        "key-no-scheme": ({"scheme": b"\0\x10"}, "no scheme"),
        "key-scheme-sha1": ({"scheme": bytes.fromhex("00180004")}, "signs with SHA-1"),
        "key-curve": ({"curve": 0x0004}, "the curve is P-384"),
        "key-kdf": ({"kdf": 0x0020}, "a key derivation"),
        "key-x-31": ({"x": bytes(31)}, "x of 31 bytes"),
        "key-no-point": ({"x": bytes(32), "y": b"\1" * 32}, "not a point of the curve"),
        "key-attribute-unknown": ({"attributes": RawKey(b"", b"").attributes | 0x8000_0000}, "an unknown attribute"),
    }
    for name, bit in ATTRIBUTES.items():
        word = "lacks" if name in KEY_ATTRIBUTES else "has"
        changes[f"key-{word}-{name.lower()}"] = ({"attributes": RawKey(b"", b"").attributes ^ bit}, f"{word} {name}")
    made = {}
    for name, (change, reason) in changes.items():
        made[name] = (LyingTpm(key_changes=change).quote(OPENING), reason)
    made["key-cut"] = (replace(GOOD, key_bytes=GOOD.key_bytes[:-1]), "the key is cut off")
    made["key-trailing-byte"] = (replace(GOOD, key_bytes=GOOD.key_bytes + b"\0"), "a byte after the key")
    return made


def _signatures() -> dict[str, tuple[AttestationEvidence, str]]:
    def signed(change: Callable[[bytes], bytes]) -> AttestationEvidence:
        return replace(GOOD, signature_bytes=change(GOOD.signature_bytes))

    return {
        "signature-rsa": (signed(lambda s: b"\0\x14" + s[2:]), "the signature says RSASSA"),
        "signature-sha1": (signed(lambda s: s[:2] + b"\0\x04" + s[4:]), "the signature says SHA-1"),
        "signature-r-empty": (signed(lambda s: s[:4] + b"\0\0" + s[38:]), "r is empty"),
        "signature-r-33": (signed(lambda s: s[:4] + b"\0\x21\0" + s[6:]), "r of 33 bytes"),
        "signature-cut": (signed(lambda s: s[:-1]), "the signature is cut off"),
        "signature-trailing-byte": (signed(lambda s: s + b"\0"), "a byte after the signature"),
        "pcr-missing": (replace(GOOD, pcrs=GOOD.pcrs[:-1]), "the value of PCR 14 is missing"),
        "pcr-added": (replace(GOOD, pcrs=(*GOOD.pcrs, bytes(32))), "a value of PCR 15 too"),
    }


def _untrue() -> dict[str, tuple[AttestationEvidence, str]]:
    """Well-formed quotes that say something else."""

    def lie(**lies: Any) -> AttestationEvidence:
        return launched().quote(OPENING, **lies)

    other = LyingTpm(OTHER_KEY, pcrs=launched().pcrs).quote(OPENING)
    zero = GOOD.signature_bytes[:6] + bytes(32) + GOOD.signature_bytes[38:]
    owner = decode_attestation_key(GOOD.key_bytes)
    owners = b"\0\x0b" + _sha256(b"\x40\x00\x00\x01" + owner.name)
    swapped = (GOOD.pcrs[LAUNCH_PCR], *GOOD.pcrs[1:LAUNCH_PCR], GOOD.pcrs[0], *GOOD.pcrs[LAUNCH_PCR + 1 :])
    return {
        "signature-other-key": (replace(GOOD, signature_bytes=other.signature_bytes), "signed by another key"),
        "signature-r-0": (replace(GOOD, signature_bytes=zero), "r is 0"),
        "signer-owner": (lie(signer=owners), "a key of the owner hierarchy"),
        "signer-name": (lie(signer=owner.name), "a name that is not qualified"),
        "signer-other": (lie(signer=b"\0\x0b" + filler("signer")), "another signer"),
        "extra-empty": (lie(extra=b""), "no qualifying data"),
        "extra-plain-nonce": (lie(extra=NONCE), "the nonce alone"),
        "extra-other-epoch": (lie(extra=replace(OPENING, epoch_id=filler("e")).qualifying_data), "another epoch"),
        "extra-other-checkpoint": (lie(extra=CLOSING.qualifying_data), "another checkpoint"),
        "extra-answer": (lie(extra=replace(OPENING, nonce=NONCE).qualifying_data), "the answer to a challenge"),
        "nonce-other": (
            replace(launched().quote(CHALLENGED), subject=replace(CHALLENGED, nonce=filler("another"))),
            "another nonce",
        ),
        "nonce-for-periodic": (replace(GOOD, subject=replace(OPENING, nonce=NONCE)), "a periodic quote as an answer"),
        "selection-without-13": (lie(banks=((0x000B, b"\xff\x5f\x00"),)), "PCR 13 is not covered"),
        "selection-only-13": (lie(banks=((0x000B, b"\x00\x20\x00"),)), "PCR 13 alone"),
        "selection-more": (lie(banks=((0x000B, b"\xff\xff\x00"),)), "PCR 15 too"),
        "digest-other": (lie(digest=filler("digest")), "another PCR digest"),
        "pcr-other": (replace(GOOD, pcrs=(*GOOD.pcrs[:13], filler("pcr"), GOOD.pcrs[14])), "another value of PCR 13"),
        "pcr-swapped": (replace(GOOD, pcrs=swapped), "the values of PCR 0 and 13 swapped"),
    }


def _sha256(data: bytes) -> bytes:
    return hashed(0, 0, data).digest


def attestations() -> dict[str, Vector]:
    """vectors/attestation-evidence/reject."""
    good = encode_attestation(GOOD)
    values = cbor2.loads(good)
    raw = Raw(cose.REGISTRATION, REGISTRAR.sign, kid=registrar_id(REGISTRAR.public), payload=good)
    payloads = payload_cases(raw, (1, 2, 3, 4, 6, 7, 8, 9), 9, floats={2: "kind"})

    def put(**changes: object) -> bytes:
        return cbor2.dumps(dict(sorted({**values, **{int(key[1:]): value for key, value in changes.items()}}.items())))

    cases: Cases = {
        **{name: (_payload(data), reason) for name, (data, reason) in payloads.items()},
        "kind-0": (put(_2=0), "kind 0"),
        "kind-2": (put(_2=2), "an enclave"),
        "epoch-id-31": (put(_3=bytes(31)), "an epoch id of 31 bytes"),
        "checkpoint-empty-other-root": (put(_4=[0, filler("root")]), "size 0 with another root"),
        "nonce-31": (put(_5=bytes(31)), "a nonce of 31 bytes"),
        "nonce-null": (put(_5=None), "the nonce is null"),
        "key-text": (put(_6="key"), "the key is text"),
        "key-rsa": (put(_6=b"\0\1" + values[6][2:]), "the key is of another form"),
        "quote-time": (put(_7=launched().quote(OPENING, attest_type=0x8019).attest_bytes), "not a quote"),
        "signature-empty": (put(_8=b""), "no signature"),
        "pcrs-14": (put(_9=values[9][:-1]), "14 PCR values"),
        "pcrs-16": (put(_9=[*values[9], bytes(32)]), "16 PCR values"),
        "pcr-31": (put(_9=[*values[9][:-1], bytes(31)]), "a PCR value of 31 bytes"),
        "long": (put(_7=bytes(4096)), "more than 4096 bytes"),
        "empty": (b"", "nothing"),
    }
    made: dict[str, Vector] = {name: {"object": data, "reason": reason} for name, (data, reason) in cases.items()}
    other = LyingTpm(OTHER_KEY, pcrs=launched().pcrs).quote(OPENING)
    untrue = {name: (evidence, reason) for name, (evidence, reason) in _untrue().items() if name != "nonce-other"}
    untrue["key-other"] = (other, "another AK than the statement's")
    untrue["challenged"] = (launched().quote(CHALLENGED), "the answer to a challenge, as an entry of the log")
    for name, (evidence, reason) in untrue.items():
        made[name] = {"object": encode_attestation(evidence), "key_name": KEY_NAME, "reason": reason}
    answers = {
        "answer-other-nonce": (launched().quote(replace(CHALLENGED, nonce=filler("another"))), "another nonce"),
        "answer-periodic": (GOOD, "an entry of the log as an answer"),
    }
    for name, (evidence, reason) in answers.items():
        made[name] = {"object": encode_attestation(evidence), "key_name": KEY_NAME, "nonce": NONCE, "reason": reason}
    return made


def _payload(sign1: bytes) -> bytes:
    """The payload of a COSE_Sign1, as it stands."""
    found: bytes = cbor2.loads(sign1).value[2]
    return found


def registrations() -> dict[str, Vector]:
    """vectors/registration/reject."""
    good = accept_tpm.registration()
    value = {1: 1, 2: good.time_ns, 3: good.identity, 4: good.key.public_bytes, 5: [b"not parsed so early"]}
    raw = Raw(cose.REGISTRATION, REGISTRAR.sign, kid=registrar_id(REGISTRAR.public), payload=cbor.encode(value))
    cases = container_cases(raw) | payload_cases(raw, (1, 2, 3, 4, 5), 5, floats={2: "time"})
    cases |= changed_cases(
        raw,
        {
            "time-negative": ({2: -1}, "time before 1970"),
            "identity-empty": ({3: ""}, "no identity"),
            "identity-nul": ({3: "a\0"}, "U+0000 in the identity"),
            "identity-long": ({3: "i" * 256}, "an identity of 256 bytes"),
            "key-rsa": ({4: b"\0\1" + good.key.public_bytes[2:]}, "the key is of another form"),
            "no-certificate": ({5: []}, "no certificate"),
            "five-certificates": ({5: [b"certificate"] * 5}, "five certificates"),
            "certificate-long": ({5: [bytes(8193)]}, "a certificate of 8193 bytes"),
        },
    )
    made: dict[str, Vector] = {name: {"object": data, "reason": reason} for name, (data, reason) in cases.items()}
    return made | _false_registrations()


def _false_registrations() -> dict[str, Vector]:
    good, other = accept_tpm.registration(), Ed25519Key(filler("another registrar"))
    ek, issuer = good.chain
    genuine = encode_registration(good, REGISTRAR.public, REGISTRAR.sign)
    flipped = genuine[:-1] + bytes([genuine[-1] ^ 1])

    def signed(**changes: object) -> bytes:
        return encode_registration(accept_tpm.registration(**changes), REGISTRAR.public, REGISTRAR.sign)

    cases = {
        "registrar-other": (encode_registration(good, other.public, other.sign), "by another registrar"),
        "registrar-named": (encode_registration(good, REGISTRAR.public, other.sign), "signed by another registrar"),
        "signature-changed": (flipped, "the signature is changed"),
        "identity-other": (signed(identity="other.example/log"), "of another identity"),
        "issuer-missing": (signed(chain=(ek,)), "the certificate between EK and root is missing"),
        "issuer-first": (signed(chain=(issuer, ek)), "the EK's certificate is not the first"),
        "issuer-only": (signed(chain=(issuer,)), "the certificate of a CA, not of an EK"),
        "root-only": (signed(chain=(accept_tpm.root(),)), "the root alone"),
    }
    more: Vector = {"registrar": REGISTRAR.public, "identity": IDENTITY, "root": accept_tpm.root()}
    return {name: {"object": data, **more, "reason": reason} for name, (data, reason) in cases.items()}


def event_logs() -> dict[str, Vector]:
    """vectors/event-log/reject."""
    header, event = encode_log_header(), encode_event(LAUNCHES[0])
    two = accept_tpm.two_banks(BOOT[1:2])

    def header_with(at: int, data: bytes) -> bytes:
        return header[:at] + data + header[at + len(data) :]

    cases = {
        "empty": (b"", "nothing"),
        "header-cut": (header[:-1], "the header is cut off"),
        "header-pcr": (header_with(0, b"\1"), "the header is of PCR 1"),
        "header-type": (header_with(4, b"\4"), "the first event is no EV_NO_ACTION"),
        "header-digest": (header_with(8, b"\1"), "the header has a digest"),
        "header-signature": (header_with(32, b"Spec ID Event02\0"), "the form before crypto-agile"),
        "header-major": (header_with(53, b"\1"), "major version 1"),
        "no-bank": (header_with(56, bytes(4)), "no bank"),
        "many-banks": (header_with(56, b"\xff" * 4), "2^32-1 banks declared"),
        "bank-unknown": (header_with(60, b"\x0e\0"), "a bank of unknown algorithm"),
        "bank-size": (header_with(62, b"\x14\0"), "a SHA-256 bank with digests of 20 bytes"),
        "bank-sha1": (header_with(60, bytes.fromhex("04001400")), "a SHA-1 bank alone"),
        "bank-sha384": (header_with(60, bytes.fromhex("0c003000")), "a SHA-384 bank alone"),
        "bank-twice": (two.replace(bytes.fromhex("04001400"), bytes.fromhex("0b002000"), 1), "the bank twice"),
        "vendor-longer": (header_with(64, b"\1"), "vendor data that are not there"),
        "event-cut": (header + event[:-1], "the last byte is missing"),
        "event-head-only": (header + event[:12], "no digest"),
        "trailing-byte": (header + event + b"\0", "a byte after the last event"),
        "pcr-24": (header + b"\x18" + event[1:], "an event of PCR 24"),
        "no-digest": (header + event[:8] + bytes(4) + event[46:], "an event without a digest"),
        "digests-more": (header + event[:8] + b"\2" + event[9:], "more digests than banks"),
        "digest-other-bank": (header + event[:12] + b"\4\0" + event[14:], "a digest of a bank that is not there"),
        "digest-twice": (two.replace(b"\4\0" + b"\xaa" * 20, b"\x0b\0" + b"\xaa" * 32, 1), "a digest twice"),
        "data-huge": (header + event[:46] + b"\xff" * 4 + event[50:], "2^32-1 bytes of data declared"),
    }
    made: dict[str, Vector] = {name: {"log": data, "reason": reason} for name, (data, reason) in cases.items()}
    return made | _untrue_logs()


def _untrue_logs() -> dict[str, Vector]:
    """Well formed. All but the last three lead to the values that they should: type and data are in no digest."""
    good = replay(BOOT)
    opened = hashed(4, 0x8000_0003, b"a boot loader")
    cases = {
        "data-changed": (
            _with(3, replace(BOOT[3], data=BOOT[3].data[:-1] + b"\0")),
            7,
            good,
            "data changed, digest as it was",
        ),
        "relabelled-as-action": (_with(2, replace(BOOT[2], event_type=EventType.ACTION)), 2, good, "another type"),
        "relabelled-as-separator": (
            _with(2, replace(BOOT[2], event_type=EventType.SEPARATOR, data=bytes(4))),
            2,
            good,
            "a firmware volume as separator",
        ),
        "separator-of-an-error": (
            (*BOOT, hashed(7, EventType.SEPARATOR, b"\1\0\0\0")),
            7,
            replay((*BOOT, hashed(7, EventType.SEPARATOR, b"\1\0\0\0"))),
            "a separator that reports an error",
        ),
        "digest-changed": (_with(2, replace(BOOT[2], digest=filler("other volume"))), 2, good, "another digest"),
        "event-missing": (BOOT[:3] + BOOT[4:], 7, good, "an event is missing"),
        "event-added": ((*BOOT, opened), 4, good, "an event more"),
        "locality-changed": (_with(0, replace(BOOT[0], data=BOOT[0].data[:-1] + b"\0")), 0, good, "another locality"),
    }
    return {
        name: {"log": encode_event_log(events), f"pcr_{pcr}": values[pcr], "reason": reason}
        for name, (events, pcr, values, reason) in cases.items()
    }


def _with(index: int, event: LoggedEvent) -> tuple[LoggedEvent, ...]:
    return (*BOOT[:index], event, *BOOT[index + 1 :])


def closures() -> dict[str, Vector]:
    """vectors/closure/reject."""
    good = encode_closure(CLOSURE)
    files = [[int(m.role), m.name, m.digest] for m in CLOSURE.members]

    def put(*changed: object) -> bytes:
        return cbor2.dumps([1, list(changed)])

    first = files[0]
    cases = {
        "version-2": (cbor2.dumps([2, files]), "version 2"),
        "trailing-byte": (good + b"\0", "a byte after it"),
        "cut": (good[:-1], "the last byte is missing"),
        "map": (cbor2.dumps({1: 1, 2: files}), "a map"),
        "three": (cbor2.dumps([1, files, 0]), "three items"),
        "unsorted": (put(*reversed(files)), "not in order"),
        "twice": (put(first, *files), "a file twice"),
        "no-executable": (put(*files[1:]), "no executable"),
        "two-executables": (put([1, "/a", bytes(32)], *files), "two executables"),
        "no-plugin": (put(*(file for file in files if file[0] != Role.PLUGIN)), "no plugin"),
        "role-0": (put([0, "/x", bytes(32)], *files), "role 0"),
        "role-7": (put(*files, [7, "/x", bytes(32)]), "role 7"),
        "name-empty": (put([1, "", bytes(32)], *files[1:]), "no name"),
        "name-nul": (put([1, "/a\0b", bytes(32)], *files[1:]), "U+0000 in a name"),
        "name-long": (put([1, "/" * 4097, bytes(32)], *files[1:]), "a name of 4097 bytes"),
        "digest-31": (put([1, "/a", bytes(31)], *files[1:]), "a digest of 31 bytes"),
        "file-of-two": (put([1, "/a"], *files[1:]), "a file without digest"),
    }
    return {name: {"object": data, "reason": reason} for name, (data, reason) in cases.items()}


def launch_logs() -> dict[str, Vector]:
    """vectors/launch-log/reject."""
    made: dict[str, Vector] = {}
    for name, (events, reason) in {**_other_launches(), **_malformed_launches()}.items():
        pcr: Vector = {"pcr_13": replay(events)[LAUNCH_PCR]} if name in _other_launches() else {}
        made[name] = {"log": encode_event_log(events)} | pcr | {"reason": reason}
    made["leads-elsewhere"] = {
        "log": encode_event_log(LAUNCHES),
        "pcr_13": filler("pcr"),
        "reason": "another PCR value",
    }
    made["launch-left-out"] = {
        "log": encode_event_log(LAUNCHES[1:]),
        "pcr_13": replay(LAUNCHES)[LAUNCH_PCR],
        "reason": "a launch is left out",
    }
    made["banks"] = {"log": accept_tpm.two_banks(LAUNCHES), "reason": "a SHA-1 bank besides"}
    return made


def _other_launches() -> dict[str, tuple[tuple[LoggedEvent, ...], str]]:
    failed, launch, epoch = LAUNCHES
    rogue = encode_launch_event(EpochEvent(filler("rogue epoch"), PROCESS))
    foreign = hashed(LAUNCH_PCR, EventType.EVENT_TAG, tagged(0x1234, b"somebody else"))
    changed = replace(epoch, data=epoch.data[:-1] + bytes([epoch.data[-1] ^ 1]))
    relabelled = replace(epoch, event_type=EventType.ACTION)
    return {
        "empty": ((), "nobody launched anything"),
        "no-epoch": ((failed, launch), "a launch without epoch at the end"),
        "no-launch": ((epoch,), "an epoch without a launch"),
        "rogue-epoch": ((*LAUNCHES, rogue), "a second epoch for one launch"),
        "epoch-twice": ((*LAUNCHES, epoch), "the epoch twice"),
        "launch-after": ((*LAUNCHES, launch), "launched again, without an epoch yet"),
        "foreign-first": ((foreign, *LAUNCHES), "somebody else's event before the first launch"),
        "foreign-between": ((failed, foreign, launch, epoch), "somebody else's event between"),
        "foreign-last": ((*LAUNCHES, foreign), "somebody else's event at the end"),
        "epoch-data-changed": ((failed, launch, changed), "another epoch id, the digest as it was"),
        "epoch-relabelled": ((failed, launch, relabelled), "the epoch event as another type"),
    }


def _malformed_launches() -> dict[str, tuple[tuple[LoggedEvent, ...], str]]:
    failed, launch, epoch = LAUNCHES
    value = cbor2.loads(launch.data[8:])

    def event(changed: object, tag: int = 0x5347_4C01) -> LoggedEvent:
        return hashed(LAUNCH_PCR, EventType.EVENT_TAG, tagged(tag, cbor2.dumps(changed)))

    def with_value(**changes: object) -> LoggedEvent:
        return event({**value, **{int(key[1:]): item for key, item in changes.items()}})

    no_action = hashed(LAUNCH_PCR, EventType.NO_ACTION, b"something to say")
    long = hashed(LAUNCH_PCR, EventType.EVENT_TAG, launch.data + b"\0")
    cases = {
        "other-pcr": (replace(launch, pcr=12), "an event of PCR 12"),
        "no-action": (no_action, "EV_NO_ACTION among the events"),
        "version-2": (with_value(_1=2), "version 2"),
        "epoch-number-0": (with_value(_2=0), "epoch number 0"),
        "closure-31": (with_value(_3=bytes(31)), "a closure hash of 31 bytes"),
        "command-empty": (with_value(_4=[]), "no command"),
        "command-nul": (with_value(_4=["a\0b"]), "U+0000 in the command"),
        "environment-text": (with_value(_5="A=b"), "the environment is text"),
        "environment-many": (with_value(_5=["A=b"] * 257), "257 variables"),
        "key-unknown": (with_value(_6=0), "an unknown key"),
        "not-a-map": (event([1]), "an array"),
        "length-more": (long, "a byte after the object"),
        "epoch-as-launch": (event(cbor2.loads(epoch.data[8:])), "an epoch under the tag of a launch"),
    }
    malformed = {name: ((failed, changed, epoch), reason) for name, (changed, reason) in cases.items()}
    epochs = {
        name: ((failed, launch, event(changed, 0x5347_4C02)), reason) for name, (changed, reason) in _epochs().items()
    }
    return malformed | epochs


def _epochs() -> dict[str, tuple[object, str]]:
    """Epoch events that are malformed, most of them in their process state."""
    good = encode_process_state(PROCESS)

    def put(**changes: object) -> object:
        return {1: 1, 2: EPOCH_ID, 3: {**good, **{int(key[1:]): item for key, item in changes.items()}}}

    def without(key: int) -> object:
        return {1: 1, 2: EPOCH_ID, 3: {number: item for number, item in good.items() if number != key}}

    return {
        "epoch-id-31": ({1: 1, 2: bytes(31), 3: good}, "an epoch id of 31 bytes"),
        "epoch-without-process": ({1: 1, 2: EPOCH_ID}, "no process state"),
        "epoch-key-unknown": ({1: 1, 2: EPOCH_ID, 3: good, 4: 0}, "an unknown key of the epoch event"),
        "process-array": ({1: 1, 2: EPOCH_ID, 3: list(good.values())}, "the process state is an array"),
        "process-key-unknown": (put(_11=0), "an unknown key of the process state"),
        **{f"process-without-{key}": (without(key), f"no key {key} in the process state") for key in good},
        "process-user-text": (put(_1="mosquitto"), "the user by name"),
        "process-user-large": (put(_1=2**32), "user 2^32"),
        "process-groups-order": (put(_3=[2, 1]), "groups in another order"),
        "process-groups-twice": (put(_3=[1, 1]), "a group twice"),
        "process-groups-many": (put(_3=list(range(4097))), "4097 groups"),
        "process-capabilities-negative": (put(_4=-1), "a negative number of capabilities"),
        "process-no-new-privs-1": (put(_5=1), "1 for true"),
        "process-seccomp-3": (put(_6=3), "seccomp mode 3"),
        "process-tracer-null": (put(_7=None), "null for no tracer"),
        "process-dumpable-0": (put(_8=0), "0 for false"),
        "process-core-limit-one": (put(_9=[0]), "a soft core limit alone"),
        "process-core-limit-null": (put(_9=[0, None]), "null for no limit"),
        "process-ptrace-scope-false": (put(_10=False), "false for no ptrace scope"),
    }


REJECT_TPM = {
    "quote": quotes,
    "attestation-evidence": attestations,
    "registration": registrations,
    "event-log": event_logs,
    "closure": closures,
    "launch-log": launch_logs,
    "ima": accept_ima.rejected,
}
