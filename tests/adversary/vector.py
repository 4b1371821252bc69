"""Writes the vectors that are whole files: `python -m tests.adversary.vector`, after a change of format."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography import x509

from sigillo.core.accusation import Accusation, decode_accusation, encode_accusation, prove
from sigillo.core.appraise import appraise
from sigillo.core.certificate import MAX_CERTIFICATE, decode_certificate, signing_key
from sigillo.core.contradiction import find
from sigillo.core.device_key import DeviceKey
from sigillo.core.entry import Kind, LogEntry, encode_entry
from sigillo.core.evidence_codec import encode_line
from sigillo.core.evidence_line import CertificateLine, Line, ManifestLine, RebuildLine
from sigillo.core.line import split_lines
from sigillo.core.mark import Checkpoint, Clock
from sigillo.core.policy import ClockTrust, MissingTrust, Policy, encode_policy
from sigillo.core.statement import PrincipalSource
from sigillo.core.timestamp import MAX_TOKEN, verify_token

from ..core import rule_case, timestamp_case
from ..core.certificate_case import Case, accepted, refused
from ..core.certificate_case import unreadable as unreadable_certificates
from ..core.policy_case import MINIMAL, REBUILT, REFUSED, WITH_AK, WITH_EK
from ..vector.file import Value, format_vector
from .accused import pairs, source
from .attested import AttestedStory, attested
from .broker import HASHES, NOW_NS, SECOND, alone, evidence_file
from .builder import signed_manifest, signed_statement
from .built import built
from .device import Device, ed25519_key
from .forge import GROUP_ORDER
from .log import LoggedStory, logged, logged_file
from .maker import START, Maker
from .maker import line as certificate_line
from .story import Story, certified, honest, messages
from .third import MINUTE, ThirdStory, bracketed
from .tsa import Tsa
from .vector_attested import attested_up_to, not_attested
from .vector_build import build_files

VECTORS = Path(__file__).parents[2] / "vectors"


def files() -> dict[str, bytes]:
    """Every file below ``vectors/`` that this module is for, by its path there."""
    made: dict[str, bytes] = {}
    for name, (data, policy) in evidence_accept().items():
        verdict = appraise(split_lines([data]), policy, NOW_NS).to_json()
        made[f"evidence/accept/{name}.jsonl"] = data
        made[f"evidence/accept/{name}.policy.toml"] = encode_policy(policy).encode()
        text = json.dumps(verdict, indent=1, ensure_ascii=False)
        made[f"evidence/accept/{name}.verdict.json"] = f"{text}\n".encode()
    made["evidence/reject/policy.toml"] = encode_policy(reject_policy()).encode()
    made["evidence/reject/strict.policy.toml"] = encode_policy(bracketed().trust()).encode()
    made |= {f"evidence/reject/strict-{name}.jsonl": data for name, data in not_bracketed().items()}
    made["evidence/reject/attested.policy.toml"] = encode_policy(AttestedStory().policy).encode()
    made |= {f"evidence/reject/attested-{name}.jsonl": data for name, data in not_attested().items()}
    made |= {f"evidence/reject/unreadable-{name}.jsonl": data for name, data in unreadable().items()}
    made |= {f"evidence/reject/step-{name}.jsonl": data for name, data in not_verified().items()}
    made["policy/accept/minimal.toml"] = MINIMAL.encode()
    made["policy/accept/rebuilt.toml"] = REBUILT.encode()
    made["policy/accept/attested.toml"] = WITH_AK.encode()
    made["policy/accept/endorsed.toml"] = WITH_EK.encode()
    made["policy/accept/whole.toml"] = encode_policy(relaxed()[1]).encode()
    for name, (text, field) in REFUSED.items():
        if len(text) < 20_000:
            made[f"policy/reject/{name.replace(' ', '-').lower()}.toml"] = f"# {field}: {name}\n{text}".encode()
    return made | certificates() | accusations() | timestamps() | build_files() | rules()


def rules() -> dict[str, bytes]:
    """Configurations that the rules hold for, and others."""
    made = {f"rule/accept/{name}.json": case.encode() for name, case in rule_case.accepted().items()}
    return made | {f"rule/reject/{name}.json": case.encode() for name, case in rule_case.refused().items()}


def accusations() -> dict[str, bytes]:
    """Each kind, proved; and some that are unreadable or prove nothing."""
    made: dict[str, bytes] = {}
    honest_policy = honest().policy
    made["accusation/accept/policy.toml"] = encode_policy(honest_policy).encode()
    for kind, (first, second, policy) in pairs().items():
        found = find(source(first), source(second))
        accusation = next(found_one for found_one in found if found_one.kind == kind)
        data = encode_accusation(accusation)
        made[f"accusation/accept/{kind}.json"] = data
        made[f"accusation/accept/{kind}.txt"] = f"{prove(accusation, policy)}\n".encode()
    marks, named = made["accusation/accept/marks.json"], made["accusation/accept/mark-checkpoint.json"]
    decoded = decode_accusation(marks)
    same = {**decoded.objects, "second": decoded.objects["first"]}
    made["accusation/reject/not-proved-one-mark-twice.json"] = encode_accusation(Accusation("marks", same))
    named_hashes = decode_accusation(named)
    shorter = dataclasses.replace(named_hashes, hashes={**named_hashes.hashes, "rest": ()})
    made["accusation/reject/not-proved-hashes-missing.json"] = encode_accusation(shorter)
    gap, heads = (decode_accusation(made[f"accusation/accept/{kind}.json"]) for kind in ("mark-gap", "mark-heads"))
    after = encode_entry(LogEntry(Kind.EPOCH_STATEMENT, 2, 0, b"\x08" * 32))
    ended = dataclasses.replace(gap, objects={**gap.objects, "after": after})
    made["accusation/reject/not-proved-epoch-did-not-go-on.json"] = encode_accusation(ended)
    made["accusation/reject/not-proved-other-index.json"] = encode_accusation(
        dataclasses.replace(gap, index=gap.index + 1)
    )
    pathless = dataclasses.replace(heads, hashes={"path": ()})
    made["accusation/reject/not-proved-heads-path-missing.json"] = encode_accusation(pathless)
    made["accusation/reject/unreadable-index.json"] = made["accusation/accept/mark-heads.json"].replace(
        b'"index":%d' % heads.index, b'"index":true'
    )
    made["accusation/reject/unreadable-two-lines.json"] = marks + marks
    made["accusation/reject/unreadable-another-kind.json"] = marks.replace(b'"kind":"marks"', b'"kind":"mark"')
    made["accusation/reject/unreadable-no-line-feed.json"] = marks[:-1]
    return made


def certificates() -> dict[str, bytes]:
    """Chains that count, and chains that do not."""
    made: dict[str, bytes] = {}
    for verdict, cases in (("accept", accepted()), ("reject", {**refused(), **unreadable_certificates()})):
        for name, case in cases.items():
            fields: dict[str, Value] = {"device": case.device, "ca": case.ca}
            fields |= {f"chain_{number}": found for number, found in enumerate(case.chain, start=1)}
            fields |= {"time": case.time_ns}
            fields |= {"reason": case.reason} if case.reason else {"public_key": leaf_key(case).spki}
            if len(case.chain[0]) < MAX_CERTIFICATE:
                made[f"certificate/{verdict}/{name}.txt"] = format_vector(fields).encode()
    return made


def timestamps() -> dict[str, bytes]:
    """Tokens that count, those that OpenSSL and certomancer made among them, and tokens that do not."""
    made: dict[str, bytes] = {}
    for name, case in {**timestamp_case.accepted(), **timestamp_case.made_by_others()}.items():
        token = verify_token(case.token, case.message, case.trust, case.chain, case.crls)
        found: dict[str, Value] = {"gen_time": token.gen_time_ns, "accuracy": token.accuracy_ns}
        found |= {"accuracy_stated": token.accuracy_stated, "policy": token.policy, "serial": token.serial}
        found |= {} if token.nonce is None else {"nonce": token.nonce}
        found |= {} if token.revocation_ns is None else {"revocation": token.revocation_ns}
        fields = {**timestamp_case.fields(case), **found, "expires": token.expires_ns}
        made[f"timestamp/accept/{name}.txt"] = format_vector(fields).encode()
    for name, case in timestamp_case.refused().items():
        fields = {**timestamp_case.fields(case), "reason": case.reason}
        made[f"timestamp/reject/{name}.txt"] = format_vector(fields).encode()
    for name, case in timestamp_case.unreadable().items():
        if len(case.token) <= MAX_TOKEN:
            fields = {"token": case.token, "reason": case.why}
            made[f"timestamp/reject/{name}.txt"] = format_vector(fields).encode()
    return made


def leaf_key(case: Case) -> DeviceKey:
    return signing_key(decode_certificate(case.chain[0]))


def base() -> Story:
    """One epoch, one message of each of two devices."""
    story = Story()
    story.broker.publish(story.first)
    story.broker.publish(story.second)
    return story


def reject_policy() -> Policy:
    """Trusts the base story; the third tracker's key is for its maker to certify."""
    story = base()
    devices = (story.first.trust, story.second.trust, Maker().device(story.third))
    return story.broker.policy(devices=devices, makers=(Maker().trust(),))


def relaxed() -> tuple[bytes, Policy]:
    """Needs every permission that a policy can give, and has an 8-bit device."""
    story, small = Story(), Device("crate-8", bits=8, number=254)
    story.broker.clock = Clock("unsynchronised")
    story.broker.start(separated=False, clock_correction_ns=SECOND)
    story.broker.publish(story.first)
    story.broker.lose(story.first)
    story.broker.publish(story.first)
    story.broker.clock = Clock("bound-unknown")
    story.broker.publish(small)
    policy = story.broker.policy(
        *story.devices,
        small,
        clock=ClockTrust(SECOND, allow_unknown_bound=True, allow_unsynchronised=True),
        missing=alone(allow_withheld=True, allow_lost=True),
        operators=(story.broker.trust(reference_values={"plugin": (HASHES["plugin"],)}, unsafe_any_build=True),),
    )
    return story.broker.file(), policy


def repeated() -> tuple[bytes, Policy]:
    """A crash, and a message that the device sends again after it."""
    story = Story()
    payload = story.second.datagram()
    story.broker.publish(story.second, payload=payload)
    story.broker.die()
    story.broker.publish(story.second, payload=payload)
    return story.broker.file(), story.policy


def evidence_accept() -> dict[str, tuple[bytes, Policy]]:
    story = honest()
    return {
        "two-epochs": (story.broker.file(), story.policy),
        "repeat-after-crash": repeated(),
        "relaxed": relaxed(),
        "certified": certified_keys(),
        "rebuilt": (built().file(), built().policy),
        "logged": (logged().log.file(), logged().policy),
        "logged-not-held": not_held(),
        "bracketed": (bracketed().file(), bracketed().trust()),
        "pending": pending(),
        "attested": (attested().file(), attested().policy),
        "attested-up-to": attested_up_to(),
    }


def pending() -> tuple[bytes, Policy]:
    """Anchored by one TSA of two, before a message and not after it; a witness of the operator; no majority."""
    story = bracketed()
    story.broker.publish(story.first)
    story.anchor(story.tsas[0])
    missing = MissingTrust(allow_unanchored=True, allow_no_beacon=True)
    own = dataclasses.replace(story.witnesses[2], operator="Example Broker").trust
    witnesses = (*(witness.trust for witness in story.witnesses[:2]), own)
    policy = story.trust(missing=missing, witnesses=witnesses, witness_quorum=1)
    return story.file(note=story.note(story.witnesses[0], story.witnesses[2])), policy


def not_bracketed() -> dict[str, bytes]:
    """Readable, and not verified under reject/strict.policy.toml: the number is that of the step."""
    made: dict[str, bytes] = {"14-no-log-proof": bracketed().broker.file()}
    story = bracketed()
    token = story.log.tokens[-1]
    for name, note in {
        "17-token-about-another-note": story.log.tokens[0].note,
        "17-token-about-a-note-with-an-extension-line": token.note.replace("\n\n", "\nextension\n\n"),
    }.items():
        lines = [dataclasses.replace(line, note=note) if line == token else line for line in story.log.lines()]
        made[name] = logged_file(lines, story.log.read, story.note(), notes=story.log.beacons)
    made["17-tsas-that-disagree"] = disagreeing()
    made["18-token-of-another-tsa"] = bracketed(tsas=[Tsa("A"), Tsa("C")]).file()
    made["18-backdated"] = bracketed(skew_ns=60 * MINUTE).file()
    made["18-postdated"] = bracketed(skew_ns=-60 * MINUTE).file()
    story = bracketed()
    story.signed(story.first)
    made["18-pending"] = story.file()
    story.broker.clock_ns += 60 * MINUTE
    story.anchor()
    made["18-bracket-too-wide"] = story.file()
    story = ThirdStory()
    story.signed(story.first)
    story.anchor()
    made["18-no-lower-bound"] = story.file()
    story = bracketed()
    made["19-one-witness-of-two"] = story.file(note=story.note(story.witnesses[0]))
    other = bracketed()
    other.anchor()
    lines = other.note().splitlines(keepends=True)[-3:]
    made["19-cosignatures-of-another-checkpoint"] = story.file(note=story.log.note() + "".join(lines))
    story.signed(story.first, beacon=bytes(32))
    story.anchor()
    made["20-beacon-never-seen"] = story.file()
    story = bracketed()
    story.broker.publish(story.first)
    story.anchor()
    made["20-no-beacon"] = story.file()
    return made


def disagreeing() -> bytes:
    """One TSA is an hour behind the other."""
    story = bracketed()
    story.skew_ns = -60 * MINUTE
    story.anchor(story.tsas[1])
    return story.file()


def not_held() -> tuple[bytes, Policy]:
    """A mark that is admitted, whose message nobody kept; an epoch that a device is silent in; heads of each epoch."""
    story = LoggedStory()
    story.broker.publish(story.first)
    lost = story.broker.mark(story.second.topic, story.second.datagram(), story.second.id)
    story.broker.publish(story.second)
    story.broker.lines.insert(-1, dataclasses.replace(lost, payload=None))
    story.log.sign()
    story.broker.die()
    story.broker.start()
    story.broker.publish(story.second)
    story.log.append()
    story.log.append_heads()
    missing = alone(allow_not_held=True)
    return story.log.file(), story.broker.policy(*story.devices, missing=missing)


def certified_keys() -> tuple[bytes, Policy]:
    """Keys that a maker certifies, one of them renewed, and the maker believed that they are in hardware."""
    story = certified()
    story.hardware = True
    return evidence_file(story.lines), story.policy


def unreadable() -> dict[str, bytes]:
    """Refused at step 1, whatever the policy."""
    data = base().broker.file()
    lines = data.splitlines(keepends=True)
    header, epoch, first, second, trailer = lines

    def with_first(change: Callable[[bytes], bytes]) -> bytes:
        changed = change(first)
        assert changed != first
        return b"".join([header, epoch, changed, second, trailer])

    topic = b'"topic":"braid'
    certificate = certificate_line("crate-3", Maker().certify(base().third))
    return {
        "empty": b"",
        "no-header": b"".join(lines[1:]),
        "header-twice": header + data,
        "no-trailer": b"".join(lines[:-1]),
        "after-the-trailer": data + trailer,
        "no-line-feed-at-the-end": data[:-1],
        "carriage-returns": data.replace(b"\n", b"\r\n"),
        "blank-line": with_first(lambda line: b"\n" + line),
        "byte-order-mark": b"\xef\xbb\xbf" + data,
        "certificate-after-an-epoch": evidence_file([*base().broker.lines[:1], certificate, *base().broker.lines[1:]]),
        "certificate-twice": evidence_file([certificate, certificate, *base().broker.lines]),
        "certificate-that-is-none": evidence_file([CertificateLine("crate-3", (b"0\0",)), *base().broker.lines]),
        "rebuild-before-any-manifest": evidence_file([*built().shared[1:], *base().broker.lines]),
        "manifest-after-an-epoch": evidence_file([*base().broker.lines, built().shared[0]]),
        "manifest-that-is-none": evidence_file([ManifestLine("{}\n"), *base().broker.lines]),
        "version-2": data.replace(b'"version":1', b'"version":2'),
        "wrong-count-of-messages": data.replace(b'"messages":2', b'"messages":3'),
        "wrong-count-of-epochs": data.replace(b'"epochs":1', b'"epochs":2'),
        "count-is-a-float": data.replace(b'"epochs":1', b'"epochs":1.0'),
        "no-message": b"".join([header, epoch, trailer.replace(b'"messages":2', b'"messages":0')]),
        "message-before-any-epoch": b"".join([header, first, epoch, second, trailer]),
        "member-missing": with_first(lambda line: line.replace(topic, b'"topik":"braid')),
        "member-unknown": with_first(lambda line: line.replace(b'"type":"message"', b'"type":"message","u":0')),
        "member-twice": with_first(lambda line: line.replace(topic, b'"topic":"",' + topic)),
        "members-out-of-order": with_first(
            lambda line: line.replace(b',"type":"message"', b"").replace(b"{", b'{"type":"message",')
        ),
        "space": with_first(lambda line: line.replace(b'"mark":', b'"mark": ')),
        "needless-escape": with_first(lambda line: line.replace(topic, b'"topic":"\\u0062raid')),
        "half-a-surrogate-pair": with_first(lambda line: line.replace(topic, b'"topic":"\\ud800braid')),
        "not-utf-8": with_first(lambda line: line.replace(topic, b'"topic":"\xffbraid')),
        "padding-in-base64url": with_first(lambda line: line.replace(b'","payload"', b'=","payload"')),
        "nested-deeply": data.replace(b'"epochs":1', b'"epochs":' + b"[" * 5000 + b"]" * 5000),
        **unreadable_logs(),
        "mark-with-bytes-after-it": evidence_file(changed_first(lambda mark: mark + b"\0")),
        "mark-without-tag": evidence_file(changed_first(lambda mark: mark[1:])),
        "mark-cut-off": evidence_file(changed_first(lambda mark: mark[:-1])),
    }


def unreadable_logs() -> dict[str, bytes]:
    """Log proofs that are none."""
    story = logged_base()
    data, lines = story.log.file(), story.log.file().splitlines(keepends=True)
    plain = base().broker.file()
    stop = next(line for line in lines if b'"stop"' in line)
    first = json.loads(lines[-1])["checkpoint"].split("\n")[1]
    assert first == str(len(story.log.entries))
    return {
        "log-index-missing": data.replace(b'"index":1,', b""),
        "log-index-twice": data.replace(b'"index":2,', b'"index":1,'),
        "log-message-left-out": b"".join([*lines[:3], *lines[4:]]),
        "log-stop-left-out-of-its-place": b"".join([line for line in lines[:-1] if line != stop] + [stop, lines[-1]]),
        "log-skip-too-long": data.replace(b'"index":1,', b'"index":9,'),
        "log-not-said": data.replace(b'"log":true', b'"log":false'),
        "log-said-and-not-there": plain.replace(b'"log":false', b'"log":true'),
        **unreadable_tokens(),
        "log-checkpoint-of-a-smaller-size": logged_file(
            story.log.lines(), story.log.read, story.log.note(story.log.head(3)), size=len(story.log.entries)
        ),
    }


def unreadable_tokens() -> dict[str, bytes]:
    """Token and checkpoint lines that are none."""
    story = bracketed()
    data, lines = story.file(), story.file().splitlines(keepends=True)
    token = story.log.tokens[-1]
    beacon = next(line for line in lines if b'"type":"checkpoint"' in line)
    later = story.log.note(story.log.head(7))
    shown = encode_line(token)

    def with_token(**fields: Any) -> bytes:
        changed = dataclasses.replace(token, **fields)
        return data.replace(shown, encode_line(changed))

    return {
        "token-cut-off": with_token(token=token.token[:-1]),
        "token-with-bytes-after-it": with_token(token=token.token + b"\0"),
        "token-of-epoch-0": with_token(epoch=0),
        "token-about-a-size-not-there-yet": with_token(note=later),
        "token-about-a-cosigned-note": with_token(note=story.witnesses[0].cosign(token.note)),
        "token-about-no-checkpoint": with_token(note="a note\n"),
        "token-with-nine-certificates": with_token(chain=(b"0\0",) * 9),
        "token-with-five-revocation-lists": with_token(crls=(b"0\0",) * 5),
        "token-with-no-revocation-list": data.replace(shown, shown.replace(b'"epoch":', b'"crls":[],"epoch":')),
        "checkpoint-line-twice": data.replace(beacon, beacon + beacon),
        "checkpoint-line-elsewhere": b"".join([*(line for line in lines[:-1] if line != beacon), beacon, lines[-1]]),
        "checkpoint-with-two-signatures-of-a-key": data.replace(
            b'\\n","epochs"', b"\\n" + lines[-1].split(b"\\n")[-2] + b'\\n","epochs"'
        ),
    }


def changed_first(change: Callable[[bytes], bytes]) -> list[Line]:
    """The base story with the mark of its first message changed as bytes."""
    lines = list(base().broker.lines)
    first = messages(lines)[0]
    lines[1] = dataclasses.replace(first, mark=change(first.mark))
    return lines


def not_verified() -> dict[str, bytes]:
    """Readable, and not verified under reject/policy.toml: the number is that of the step."""
    made: dict[str, bytes] = {}

    def publish(name: str, **lies: object) -> None:
        story = base()
        story.broker.publish(story.first, **lies)
        made[name] = story.broker.file()

    def start(name: str, **lies: object) -> None:
        story = Story()
        story.broker.start(**lies)
        story.broker.publish(story.first)
        made[name] = story.broker.file()

    start("02-statement-by-another-key", epoch_key=ed25519_key("another").public_key().public_bytes_raw())
    start("02-epoch-key-of-small-order", epoch_key=(1).to_bytes(32, "little"))
    start("03-countersigned-by-another-key", countersigned_by=ed25519_key("another"))
    start("03-another-operator", operator="Another Broker")
    start("03-another-origin", log_origin="another.example/log")
    start("03-another-log-key", log_key_id=b"\x07" * 32)
    publish("05-mark-by-another-key", signed_by=ed25519_key("another"))
    publish("05-mark-of-another-epoch", kid=b"\x05" * 32)
    made["05-signature-in-its-second-form"] = evidence_file(changed_first(malleated))
    made["06-another-payload"] = evidence_file(exchanged("payload"))
    publish("06-another-salt", commitment=b"\x06" * 32)
    publish("07-sequence-twice", sequence=2)
    publish("07-time-backward", time_ns=NOW_NS - 3600 * SECOND + 1)
    publish("07-count-twice", count=1)
    publish("07-chain-broken", previous=b"\x07" * 32)
    publish("08-unsynchronised", clock=Clock("unsynchronised"))
    publish("08-bound-unknown", clock=Clock("bound-unknown"))
    publish("08-bound-too-large", clock=Clock("bounded", SECOND + 1))
    publish("09-not-signed", payload=b"21.5")
    publish("09-signed-by-another-device", payload=Device("crate-1", "p256", seed="another").datagram())
    for name, chain in not_certified().items():
        story = base()
        story.broker.publish(story.third)
        certificates = [certificate_line(story.third, chain)] if chain else []
        made[f"09-{name}"] = evidence_file([*certificates, *story.broker.lines])
    start("09-nobody-authenticated", principal_source=PrincipalSource.UNAUTHENTICATED)
    story = base()
    story.broker.lines.append(story.broker.mark(story.first.topic, story.first.datagram(), "crate-2"))
    made["09-delivered-by-another-device"] = story.broker.file()
    story = base()
    story.broker.lose(story.first)
    story.broker.publish(story.first)
    made["10-message-withheld"] = story.broker.file()
    story = base()
    story.first.datagram()
    story.broker.publish(story.first)
    made["11-number-missing"] = story.broker.file()
    story = base()
    story.first.number = 0
    story.broker.publish(story.first, payload=story.first.datagram(TEMP=99.0))
    made["11-number-twice"] = story.broker.file()
    made |= logged_lies()
    made |= {f"14-{name}": data for name, data in not_in_the_log().items()}
    made |= not_rebuilt()
    for part in HASHES:
        start(f"12-another-{part}", **{f"{part}_hash": b"\x77" * 32})
    return made


def not_rebuilt() -> dict[str, bytes]:
    """Manifests and statements that do not hold; the reject policy has neither builder nor rebuilder."""
    story = built()
    signature = json.loads(story.manifest)["signatures"][0]["sig"]
    broken = story.manifest.decode().replace(signature, "A" * 86 + "==")
    other = RebuildLine(signed_statement(signed_manifest(), "Rebuilder A", "rebuilder A").decode())
    return {
        "12-manifest-not-signed": evidence_file([ManifestLine(broken), *base().broker.lines]),
        "12-statement-about-another-manifest": evidence_file([story.shared[0], other, *base().broker.lines]),
    }


def logged_base() -> LoggedStory:
    """The base story, ended and logged."""
    story = LoggedStory()
    story.broker.publish(story.first)
    story.broker.publish(story.second)
    story.log.sign()
    story.broker.publish(story.first)
    story.broker.stop()
    story.log.append()
    return story


def not_in_the_log() -> dict[str, bytes]:
    """Lines that are not what the log has."""
    story = logged_base()
    lines, read = story.log.lines(), story.log.read
    made = {"checkpoint-by-another-key": logged_file(lines, read, story.log.note(private=ed25519_key("another")))}
    entries = list(story.log.entries)
    for name, fields in OTHER_ENTRY.items():
        story.log.entries = [*entries[:2], dataclasses.replace(entries[2], **fields), *entries[3:]]
        made[name] = logged_file(lines, story.log.read, story.log.note())
    return made


OTHER_ENTRY: dict[str, dict[str, Any]] = {
    "entry-renumbered": {"sequence": 3},
    "entry-of-another-epoch": {"epoch": 2},
    "entry-of-another-kind": {"kind": Kind.SEAL},
    "entry-of-another-object": {"object_hash": b"\x07" * 32},
}


def logged_lies() -> dict[str, bytes]:
    """Steps 15 and 16: what the broker and the log say contradicts itself."""
    made: dict[str, bytes] = {}
    for name, checkpoint in {
        "15-checkpoint-not-there-yet": Checkpoint(9, b"\x07" * 32),
        "15-checkpoint-of-another-root": Checkpoint(2, b"\x07" * 32),
    }.items():
        story = logged_base()
        story.broker.start()
        story.broker.checkpoint = checkpoint
        story.broker.publish(story.first)
        story.log.append()
        made[name] = story.log.file()
    story = logged_base()
    made["15-no-stop"] = logged_file(story.log.lines(), story.log.read, story.log.note(), named=())
    story = LoggedStory()
    story.broker.publish(story.first)
    story.broker.publish(story.second, sequence=5)
    story.log.append()
    made["15-no-room"] = story.log.file()
    story = LoggedStory()
    story.broker.publish(story.first)
    story.log.append()
    story.log.append_heads({"crate-1": dataclasses.replace(story.log.last["crate-1"], last_mark=b"\x07" * 32)})
    made["16-another-last-mark"] = story.log.file()
    story = logged_base()
    lines = story.log.lines()
    made["16-last-message-withheld"] = logged_file(
        [line for line in lines if getattr(line, "index", None) != 3], story.log.read, story.log.note()
    )
    return made


def not_certified() -> dict[str, list[x509.Certificate]]:
    """Chains that the third tracker's message cannot do with."""
    third = base().third
    return {
        "no-certificate": [],
        "certificate-of-another-device": Maker().certify(third, "crate-2"),
        "certificate-of-another-maker": Maker("Other Trackers").certify(third),
        "certificate-expired": Maker().certify(third, not_after=START),
        "certificate-of-another-key": Maker().certify(Device("crate-3", "p256", seed="another")),
    }


def malleated(mark: bytes) -> bytes:
    """The mark with S + L for S: a second form of the same Ed25519 signature."""
    return mark[:-32] + (int.from_bytes(mark[-32:], "little") + GROUP_ORDER).to_bytes(32, "little")


def exchanged(member: str) -> list[Line]:
    """The base story with a member of its two messages exchanged."""
    lines = list(base().broker.lines)
    first, second = messages(lines)
    lines[1] = dataclasses.replace(first, **{member: getattr(second, member)})
    lines[2] = dataclasses.replace(second, **{member: getattr(first, member)})
    return lines


def committed() -> set[str]:
    """The files that there are now, by their path below ``vectors/``."""
    names = ("accusation", "certificate", "evidence", "manifest", "policy", "rebuild-statement", "rule", "timestamp")
    folders = [VECTORS / name for name in names]
    return {path.relative_to(VECTORS).as_posix() for folder in folders for path in folder.rglob("*") if path.is_file()}


def main() -> None:
    """Write all files and remove those that no case makes any more."""
    made = files()
    for stale in committed() - made.keys():
        (VECTORS / stale).unlink()
    for path, data in made.items():
        (VECTORS / path).parent.mkdir(parents=True, exist_ok=True)
        (VECTORS / path).write_bytes(data)


if __name__ == "__main__":
    main()
