"""A policy for people: whom it trusts for what, with the fingerprints to compare, and what it waives."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from sigillo.core.build_trust import BuilderTrust, BuildTrust
from sigillo.core.policy import BUILD_PARTS, MakerTrust, OperatorTrust, Policy
from sigillo.core.verdict import LEVEL_SENTENCE, LEVELS
from sigillo.report.attester_trust import attester_json, attester_lines, attester_warnings
from sigillo.report.escape import escape
from sigillo.report.moment import duration

_COMPARE = "Compare these with their owners over another channel: by phone, on paper, in person."
_WAIVED = {
    "clock.allow_unknown_bound": "marks count though nobody says how far their times may be off",
    "clock.allow_unsynchronised": "marks count though the kernel said that the clock was not synchronised",
    "missing.allow_withheld": "evidence counts though the broker marked messages that the file lacks",
    "missing.allow_not_held": "evidence counts though the broker marked messages that nobody kept",
    "missing.allow_lost": "evidence counts though numbers of a device are missing",
    "missing.allow_unlogged": "evidence counts though nothing shows that its marks are in a log",
    "missing.allow_unanchored": "evidence counts though only the broker's clock bounds its times, on one side or both",
    "missing.allow_unwitnessed": "evidence counts though a split view would not be seen",
    "missing.allow_no_beacon": "evidence counts though nothing says after what its messages were signed",
    "missing.allow_not_rebuilt": "builds count though too few others made the same from source",
    "missing.allow_unattested": "marks count though no two quotes are around them",
    "attestation.allow_software": "a software TPM counts: whoever has root where it runs can make it say anything",
    "attestation.unsafe_any_configuration": "launches count however the broker was configured",
    "operator.unsafe_any_build": "marks count whichever broker software made them",
}


def render_policy(policy: Policy) -> str:
    """The policy as lines of text, each ended by LF; names are escaped."""
    return "".join(f"{line}\n" for line in _lines(policy))


def warnings(policy: Policy) -> list[str]:
    """What the policy waives, and what makes it refuse everything."""
    found = [f"{permission}: {_WAIVED[permission]}" for permission in policy.permissions()]
    for operator in policy.operators:
        by_manifest = ("executable", "plugin") if policy.build.builders else ()
        absent = [part for part in BUILD_PARTS if part not in (*operator.reference_values, *by_manifest)]
        if absent and not operator.unsafe_any_build:
            parts = ", ".join(absent)
            found.append(
                f'operator "{operator.name}": no reference value for {parts}, so nothing of it will be verified'
            )
        found += _of_level(operator, policy)
    found += attester_warnings(policy)
    found += _of_third_parties(policy)
    if policy.build.builders and not (policy.build.rebuilders or policy.missing.allow_not_rebuilt):
        found.append("a builder and no rebuilder: nothing will be verified; see [[rebuilder]] in spec/policy.md")
    found += [
        f'device "{device.id}": counts in 8 bits, a loss of 256·k messages in a row is invisible'
        for device in policy.devices
        if device.sequence_bits == 8
    ]
    return found


def _of_level(operator: OperatorTrust, policy: Policy) -> Iterator[str]:
    name, level = operator.name, operator.level
    if level not in LEVEL_SENTENCE:
        reached = ", ".join(LEVEL_SENTENCE)
        yield f'operator "{name}": this version reaches the levels {reached} only, not "{level}"'
    elif level != LEVELS[0] and policy.attestation.attester(name) is None:
        yield f'operator "{name}": level "{level}" needs an [[attester]] of it, so nothing of it will be verified'


def _of_third_parties(policy: Policy) -> Iterator[str]:
    permissions = policy.permissions()
    if not policy.tsas and "missing.allow_unanchored" not in permissions:
        yield "no [[tsa]], so nothing can bound a time: nothing will be verified without missing.allow_unanchored"
    if not policy.witnesses and "missing.allow_unwitnessed" not in permissions:
        yield "no [[witness]], so nobody saw a checkpoint: nothing will be verified without missing.allow_unwitnessed"
    if policy.anchors and policy.anchors.quorum == 1:
        yield "anchors.quorum is 1: one TSA alone can backdate"
    if policy.witness_quorum and 2 * policy.witness_quorum <= len(policy.witnesses):
        yield "witnesses.quorum is no majority: two histories can each have one, and no witness lies"
    for operator in policy.operators:
        for witness in policy.witnesses:
            if not witness.counts_for(operator):
                yield f'witness "{witness.name}": operator "{operator.name}" runs it, so it never counts for that log'


def policy_json(policy: Policy) -> dict[str, Any]:
    """The same for programs; hashes in lower-case hex."""
    return {
        "operators": [
            {
                "name": operator.name,
                "origin": operator.log_key.name,
                "log_key_id": operator.log_key.key_id32.hex(),
                "level": operator.level,
                "reference_values": {
                    part: [value.hex() for value in values] for part, values in operator.reference_values.items()
                },
            }
            for operator in policy.operators
        ],
        "clock_max_error_ns": policy.clock.max_error_ns,
        "permissions": list(policy.permissions()),
        "builders": [_party_json(party) for party in policy.build.builders],
        "rebuilders": [_party_json(party) for party in policy.build.rebuilders],
        "rebuilder_quorum": policy.build.quorum,
        **attester_json(policy.attestation),
        "makers": [
            {
                "name": maker.name,
                "fingerprint": maker.fingerprint,
                "key_fingerprint": maker.key_fingerprint,
                "hardware": maker.hardware,
            }
            for maker in policy.makers
        ],
        "tsas": [
            {"name": tsa.name, "roots": [_fingerprint(root) for root in tsa.roots], "policies": list(tsa.policies)}
            for tsa in policy.tsas
        ],
        "anchors": policy.anchors
        and {"quorum": policy.anchors.quorum, "max_bracket_ns": policy.anchors.max_bracket_ns},
        "witnesses": [
            {"name": witness.name, "operator": witness.operator, "key": witness.key.vkey}
            for witness in policy.witnesses
        ],
        "witness_quorum": policy.witness_quorum,
        "devices": [
            {
                "id": device.id,
                "key_type": device.key and device.key.kind,
                "fingerprint": device.key and device.key.fingerprint,
                "maker": device.maker and device.maker.name,
                "sequence_bits": device.sequence_bits,
            }
            for device in policy.devices
        ],
        "warnings": warnings(policy),
    }


def _lines(policy: Policy) -> Iterator[str]:
    for operator in policy.operators:
        yield from _operator(operator)
    yield f"clock: error at most {duration(policy.clock.max_error_ns)}"
    yield from _third_parties(policy)
    yield from _builders(policy.build)
    yield from attester_lines(policy.attestation)
    for maker in policy.makers:
        yield from _maker(maker)
    for device in policy.devices:
        if device.key:
            yield f"device {escape(device.id)}, {device.key.kind}, trusted to sign its own messages"
            yield f"  key  SHA-256 {device.key.fingerprint}"
        elif device.maker:
            maker_name = escape(device.maker.name)
            yield f"device {escape(device.id)}, trusted to sign its own messages with a key that {maker_name} certifies"
    yield _COMPARE
    for warning in warnings(policy):
        yield f"warning: {escape(warning)}"


def _third_parties(policy: Policy) -> Iterator[str]:
    for tsa in policy.tsas:
        yield f"TSA {escape(tsa.name)}, trusted to say what time it is, under {', '.join(tsa.policies)}"
        if tsa.crls:
            yield f"  revocation lists of its CAs that this policy brings: {len(tsa.crls)}"
        for root in tsa.roots:
            yield f"  root certificate SHA-256 {_fingerprint(root)}"
    if policy.anchors:
        widest = duration(policy.anchors.max_bracket_ns)
        yield f"anchors: {policy.anchors.quorum} of {len(policy.tsas)} TSAs, bracket at most {widest}"
    for witness in policy.witnesses:
        yield f"witness {escape(witness.name)}, run by {escape(witness.operator)}, trusted to cosign one history"
        yield f"  key            {witness.key.name}+{witness.key.note_key_id.hex()}"
    if policy.witness_quorum:
        yield f"witnesses: {policy.witness_quorum} of {len(policy.witnesses)}"


def _fingerprint(certificate: bytes) -> str:
    return hashlib.sha256(certificate).hexdigest()


def _builders(trust: BuildTrust) -> Iterator[str]:
    for party in trust.builders:
        yield f"builder {escape(party.name)}, trusted to say what the broker's programs were built from"
        yield f"  key  SHA-256 {party.key.fingerprint}"
    for party in trust.rebuilders:
        yield f"rebuilder {escape(party.name)}, one of {len(trust.rebuilders)}, of whom {trust.quorum} must agree"
        yield f"  key  SHA-256 {party.key.fingerprint}"


def _party_json(party: BuilderTrust) -> dict[str, str]:
    return {"name": party.name, "fingerprint": party.key.fingerprint}


def _maker(maker: MakerTrust) -> Iterator[str]:
    believed = ", and believed that they cannot leave their hardware" if maker.hardware else ""
    yield f"maker {escape(maker.name)}, trusted to certify the keys of its devices{believed}"
    yield f"  CA certificate SHA-256 {maker.fingerprint}"
    yield f"  CA key         SHA-256 {maker.key_fingerprint}"


def _operator(operator: OperatorTrust) -> Iterator[str]:
    yield f"operator {escape(operator.name)}, trusted to mark messages at level {operator.level}"
    yield f"  log            {escape(operator.log_key.name)}"
    yield f"  log key        SHA-256 {operator.log_key.key_id32.hex()}"
    for part in BUILD_PARTS:
        for value in operator.reference_values.get(part, ()):
            yield f"  {part:<14} SHA-256 {value.hex()}"
