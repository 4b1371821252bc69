"""Attack 12 (RATA CCS'21): something else is launched than what is believed. What the launcher reports is compared.

That it reported another thing than it ran, only levels above "launched" show.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from sigillo.core.build_trust import BuildTrust
from sigillo.core.evidence_line import ManifestLine
from sigillo.core.launch import Closure, Role
from sigillo.core.manifest import ClosureFile, Manifest, decode_manifest
from sigillo.core.policy import Policy
from sigillo.core.verdict import Verdict

from ..adversary.attested import COMMAND, CONFIGURATION, AttestedStory, closure_of, refused
from ..adversary.broker import HASHES, alone
from ..adversary.builder import manifest_of, signed_manifest
from ..adversary.built import BUILDER
from ..vector.key import filler

OTHER = filler("another file")
LAX = {
    **CONFIGURATION,
    "conf/mosquitto.conf": CONFIGURATION["conf/mosquitto.conf"].replace("anonymous false", "anonymous true"),
}


def launched(closure: Closure | None = None, **lies: object) -> AttestedStory:
    """One epoch of this closure between two quotes."""
    story = AttestedStory()
    event = {
        name: lies.pop(name) for name in ("command", "environment", "epoch_number", "closure_hash") if name in lies
    }
    story.launch(closure, event, **lies)
    story.publish()
    story.quote()
    return story


@pytest.mark.parametrize(
    ("closure", "part"),
    [
        (closure_of(executable=OTHER), "executable"),
        (closure_of(plugin=OTHER), "plugin"),
        (closure_of(LAX), "configuration"),
    ],
    ids=["executable", "plugin", "one line of the configuration"],
)
def test_what_is_reported_as_it_is_fails_the_comparison(closure: Closure, part: str) -> None:
    refused(launched(closure).judged(), 12, f"the {part} ")


@pytest.mark.parametrize(
    ("closure", "part"),
    [
        (closure_of(executable=OTHER), "executable"),
        (closure_of(plugin=OTHER), "plugin"),
        (closure_of(LAX), "configuration"),
    ],
    ids=["executable", "plugin", "one line of the configuration"],
)
def test_a_statement_that_hides_what_was_measured_contradicts_it(closure: Closure, part: str) -> None:
    values = AttestedStory().policy.operators[0].reference_values
    stated = {f"{part}_hash": values[part][0] for part in ("executable", "plugin", "configuration")}
    refused(launched(closure, **stated).judged(), 22, f"another {part} than the epoch statement names")


@pytest.mark.parametrize(
    "command",
    [
        (*COMMAND, "-p", "1883"),
        (*COMMAND, "-v"),
        (COMMAND[0],),
        (COMMAND[0], "-c", "/tmp/mosquitto.conf"),
        (COMMAND[0], "-c", "/srv/operator/conf/acl"),
        (COMMAND[0], "-d", COMMAND[2]),
        (*COMMAND[:2], "/srv/operator/xconf/mosquitto.conf"),
    ],
)
def test_another_command(command: tuple[str, ...]) -> None:
    """`-p` opens a listener that no configuration names: without TLS, on every address."""
    refused(launched(command=command).judged(), 22, "another command")


@pytest.mark.parametrize("variable", ["LD_PRELOAD=/tmp/spy.so", "OPENSSL_CONF=/tmp/openssl.cnf", "A="])
def test_an_environment(variable: str) -> None:
    refused(launched(environment=(variable,)).judged(), 22, "with an environment")


def test_a_launch_of_another_epoch_number() -> None:
    refused(launched(epoch_number=7).judged(), 22, "the launch was of epoch 7, not of 1")


def test_a_closure_that_nobody_has() -> None:
    refused(launched(closure_hash=OTHER).judged(), 22, f"the closure {OTHER.hex()} of the launch is not there")


def test_the_closure_of_another_launch() -> None:
    story = launched()
    story.closures = {OTHER: closure_of(library=OTHER)}
    refused(story.judged(), 22, "of the launch is not there")


def listing(closure: Closure, *, of: Role | None = None) -> Manifest:
    """A manifest whose run-time closure is that of *closure*; *of*: the role whose files it has with other content."""
    files = [
        ClosureFile(member.name, 1000, OTHER if member.role is of else member.digest)
        for member in closure.members
        if member.role in (Role.LOADER, Role.LIBRARY)
    ]
    files.sort(key=lambda file: file.path.encode())
    return replace(manifest_of(HASHES["executable"], HASHES["plugin"]), closure=tuple(files))


def judged_by(manifest: Manifest | None, *, demanded: bool = True, stated: bool = True) -> Verdict:
    """The verdict of a reader who believes the builder of this manifest."""
    signed = signed_manifest(manifest) if manifest else b""
    named = {"manifest_hash": decode_manifest(signed).sha256} if manifest and stated else {}
    story = launched(**named)
    policy: Policy = replace(
        story.policy,
        build=BuildTrust((BUILDER,)),
        attestation=replace(story.attesters, manifest_libraries=demanded),
        missing=alone(allow_unlogged=False, allow_not_rebuilt=True),
    )
    shared = [ManifestLine(signed.decode()), *story.shared] if manifest else story.shared
    return story.judged(policy, shared)


def compared(verdict: Verdict) -> str:
    """The note of step 22 on what was not compared."""
    (note,) = (finding.text for finding in verdict.checks[21].notes.listed if "not compared" in finding.text)
    return note


def test_the_files_that_the_manifest_lists() -> None:
    verdict = judged_by(listing(closure_of()))
    assert verdict.verified, verdict.reason
    assert verdict.level == "launched"
    assert compared(verdict) == "not compared: 1 file(s) of launcher, log and attester"


@pytest.mark.parametrize("role", [Role.LOADER, Role.LIBRARY])
def test_another_loader_or_library_than_the_manifest_lists(role: Role) -> None:
    name = next(member.name for member in closure_of().members if member.role is role)
    refused(judged_by(listing(closure_of(), of=role)), 22, f"lists are others: {name}")


def test_who_does_not_demand_it_is_told() -> None:
    verdict = judged_by(listing(closure_of(), of=Role.LIBRARY), demanded=False)
    assert verdict.verified, verdict.reason
    assert compared(verdict).startswith(
        "not those of the build manifest: /usr/lib/x86_64-linux-gnu/libc.so.6; not compared:"
    )


def test_a_library_that_the_manifest_does_not_list_is_named() -> None:
    """Modules of name services are loaded too, which no builder knows."""
    listed = listing(closure_of())
    verdict = judged_by(replace(listed, closure=listed.closure[:1]))
    assert verdict.verified, verdict.reason
    assert "libraries that it does not list, /usr/lib/x86_64-linux-gnu/libc.so.6; " in compared(verdict)


@pytest.mark.parametrize(
    ("manifest", "stated"),
    [(None, False), (listing(closure_of()), False), (replace(listing(closure_of()), closure=()), True)],
)
def test_without_a_list_nothing_is_compared_and_nothing_passes_for_it(manifest: Manifest | None, stated: bool) -> None:
    refused(judged_by(manifest, stated=stated), 22, "no build manifest by a builder of the policy says")
    told = judged_by(manifest, stated=stated, demanded=False)
    assert told.verified
    assert compared(told).startswith("not compared: loader and libraries")


def test_the_manifest_of_a_stranger_lists_nothing() -> None:
    story = AttestedStory()
    signed = signed_manifest(listing(closure_of()), "somebody")
    story.launch(manifest_hash=decode_manifest(signed).sha256)
    story.publish()
    story.quote()
    demanding = replace(story.attesters, manifest_libraries=True)
    policy = replace(story.policy, build=BuildTrust((BUILDER,)), attestation=demanding)
    refused(story.judged(policy, [ManifestLine(signed.decode()), *story.shared]), 22, "no build manifest by a builder")
