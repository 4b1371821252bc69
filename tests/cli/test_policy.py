"""`sigillo policy`: makes what `verify` reads, prints every fingerprint, and writes over nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from sigillo.core.bytes import base64url_encode
from sigillo.core.policy import AnchorTrust, decode_policy
from sigillo.core.timestamp import TsaTrust
from sigillo.report.signature_exhibit import pem

from ..adversary.broker import HASHES, Broker, evidence_file
from ..adversary.builder import dsse_key
from ..adversary.built import built
from ..adversary.cosigner import Witness
from ..adversary.device import Device
from ..adversary.maker import Maker
from ..adversary.story import certified
from ..adversary.tsa import Tsa
from .command import on_disk, refused, sigillo

BROKER = Broker()
DEVICES = [Device("crate-1", "p256"), Device("crate-2"), Device("crate-3", "p256")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What a stranger got: the operator's published file, and the devices' public keys."""
    published = f'name = "Example Broker"\nlog_key = "{BROKER.log_key.vkey}"\n'
    published += "".join(f'{part} = ["{value.hex()}"]\n' for part, value in HASHES.items())
    (tmp_path / "operator.toml").write_text(published)
    for device in DEVICES:
        own = tmp_path / "devices" / device.id
        own.mkdir(parents=True)
        (own / "signing.pub.pem").write_bytes(pem(device.key.spki))
    return tmp_path


ALONE = ["--allow-unlogged", "--allow-unanchored", "--allow-unwitnessed", "--allow-no-beacon"]


def tsa_table(tsa: TsaTrust) -> str:
    roots = ", ".join(f'"{base64url_encode(root)}"' for root in tsa.roots)
    policies = ", ".join(f'"{policy}"' for policy in tsa.policies)
    return f'[[tsa]]\nname = "{tsa.name}"\nroots = [{roots}]\npolicy = [{policies}]\n'


def arguments(folder: Path, *more: object) -> list[object]:
    return ["policy", "new", "--operator", folder / "operator.toml", "-o", folder / "policy.toml", *more]


def test_a_new_policy_verifies_the_story_and_prints_what_to_compare(folder: Path) -> None:
    pairs = [f"--device={device.id}={folder}/devices/{device.id}/signing.pub.pem" for device in DEVICES]
    answer = sigillo(*arguments(folder, *pairs, *ALONE))
    assert (answer.code, answer.err) == (0, "")
    shown = [
        BROKER.log_key.key_id32.hex(),
        *(device.key.fingerprint for device in DEVICES),
        *(h.hex() for h in HASHES.values()),
    ]
    for fingerprint in shown:
        assert fingerprint in answer.out
    assert "Compare these with their owners over another channel" in answer.out
    files = on_disk(folder / "devices")
    assert sigillo("verify", files.evidence, "--policy", folder / "policy.toml").code == 0
    assert decode_policy((folder / "policy.toml").read_bytes()) == files.story.policy


def test_options_reach_the_policy(folder: Path) -> None:
    options = ["--devices", folder / "devices", "--max-error", "250ms", "--sequence-bits", "8"]
    answer = sigillo(*arguments(folder, *options, "--allow-unsynchronised", "--allow-unknown-bound"))
    policy = decode_policy((folder / "policy.toml").read_bytes())
    assert [device.id for device in policy.devices] == ["crate-1", "crate-2", "crate-3"]
    assert {device.sequence_bits for device in policy.devices} == {8}
    assert policy.clock.max_error_ns == 250_000_000
    assert policy.permissions() == ("clock.allow_unknown_bound", "clock.allow_unsynchronised")
    assert answer.out.count("warning: ") == 7


def test_third_parties_reach_the_policy(folder: Path) -> None:
    """TSAs from the files that they hand out, witnesses with who runs them; by default all, and a majority."""
    tsas, witnesses = (Tsa(), Tsa("Other Time")), [Witness(f"w{number}") for number in (1, 2, 3)]
    options: list[object] = ["--devices", folder / "devices", "--max-bracket", "5m"]
    for tsa in tsas:
        (folder / f"{tsa.name}.toml").write_text(tsa_table(tsa.trust()))
        options += ["--tsa", folder / f"{tsa.name}.toml"]
    for witness in witnesses:
        options += ["--witness", f"University={witness.key.vkey}"]
    answer = sigillo(*arguments(folder, *options))
    assert (answer.code, answer.err) == (0, "")
    policy = decode_policy((folder / "policy.toml").read_bytes())
    assert policy.tsas == tuple(tsa.trust() for tsa in tsas)
    assert policy.anchors == AnchorTrust(2, 300 * 10**9)
    assert [witness.key for witness in policy.witnesses] == [witness.key for witness in witnesses]
    assert {witness.operator for witness in policy.witnesses} == {"University"}
    assert policy.witness_quorum == 2
    assert policy.permissions() == ()
    assert "TSA Other Time, trusted to say what time it is, under 1.3.6.1.4.1.99999.2.1" in answer.out
    assert "witnesses: 2 of 3" in answer.out
    answer = sigillo(*arguments(folder, *options, "--anchors", "3", "--force"))
    assert (answer.code, "anchors.quorum: must be 1 to 2" in answer.err) == (2, True)
    for bad in (["--witness", "University"], ["--witness", "University=w1"], ["--tsa", folder / "operator.toml"]):
        assert sigillo(*arguments(folder, *options, *bad, "--force")).code == 2


def test_a_policy_that_trusts_a_builder_and_rebuilders(folder: Path) -> None:
    """Names and keys come from what they signed; the operator's own hashes of programs no longer count."""
    story = built()
    (folder / "manifest.json").write_bytes(story.manifest)
    (folder / "e.jsonl").write_bytes(story.file())
    options = ["--devices", folder / "devices", "--builder", folder / "manifest.json"]
    for at, statement in enumerate(story.statements):
        (folder / f"{at}.json").write_bytes(statement)
        options += ["--rebuilder", folder / f"{at}.json"]
    answer = sigillo(*arguments(folder, *options, *ALONE))
    assert (answer.code, answer.err) == (0, "")
    for party in (*story.trust.builders, *story.trust.rebuilders[:2]):
        assert party.key.fingerprint in answer.out
    assert "reference value" not in answer.out
    policy = decode_policy((folder / "policy.toml").read_bytes())
    assert policy.build.quorum == 2
    assert policy.operators[0].reference_values.keys() == {"configuration"}
    assert sigillo("verify", folder / "e.jsonl", "--policy", folder / "policy.toml").code == 0
    shown = json.loads(sigillo("policy", "check", folder / "policy.toml", "--json").out)
    assert [party["name"] for party in shown["rebuilders"]] == ["Rebuilder A", "Rebuilder B"]


def test_a_manifest_that_its_key_did_not_sign_makes_no_policy(folder: Path) -> None:
    name = b'"keyid":"' + dsse_key("builder").raw.hex().encode()
    forged = built().manifest.replace(name, b'"keyid":"' + dsse_key("another").raw.hex().encode())
    (folder / "manifest.json").write_bytes(forged)
    options = ["--devices", folder / "devices", "--builder", folder / "manifest.json"]
    refused(*arguments(folder, *options), says="manifest.json: signature: ")


def test_a_builder_alone_is_warned_about(folder: Path) -> None:
    (folder / "manifest.json").write_bytes(built().manifest)
    options = ["--devices", folder / "devices", "--builder", folder / "manifest.json", *ALONE]
    alone = "warning: a builder and no rebuilder: nothing will be verified"
    assert alone in sigillo(*arguments(folder, *options)).out
    permitted = sigillo(*arguments(folder, *options, "--allow-not-rebuilt", "--force")).out
    assert "missing.allow_not_rebuilt: builds count though" in permitted
    assert alone not in permitted


def test_a_policy_that_trusts_a_maker(folder: Path) -> None:
    story = certified()
    trust = story.maker.trust()
    (folder / "ca.pem").write_bytes(story.maker.certificate.public_bytes(Encoding.PEM))
    third = f"--device=crate-3={folder}/devices/crate-3/signing.pub.pem"
    certified_devices = [f"--device={name}=maker:Example Trackers" for name in ("crate-1", "crate-2")]
    maker = ["--maker", f"Example Trackers={folder}/ca.pem", *ALONE]
    answer = sigillo(*arguments(folder, *maker, *certified_devices, third))
    assert (answer.code, answer.err) == (0, "")
    assert "device crate-1, trusted to sign its own messages with a key that Example Trackers certifies" in answer.out
    assert trust.fingerprint in answer.out and trust.key_fingerprint in answer.out
    (folder / "e.jsonl").write_bytes(evidence_file(story.lines))
    assert decode_policy((folder / "policy.toml").read_bytes()) == story.policy
    assert sigillo("verify", folder / "e.jsonl", "--policy", folder / "policy.toml").code == 0
    believed = [*maker, "--hardware", "Example Trackers", *certified_devices, third, "--force"]
    assert "believed that they cannot leave their hardware" in sigillo(*arguments(folder, *believed)).out
    checked = json.loads(sigillo("policy", "check", folder / "policy.toml", "--json").out)
    assert checked["makers"] == [
        {
            "name": "Example Trackers",
            "fingerprint": trust.fingerprint,
            "key_fingerprint": trust.key_fingerprint,
            "hardware": True,
        }
    ]
    assert (checked["devices"][0]["maker"], checked["devices"][0]["fingerprint"]) == ("Example Trackers", None)
    shown = sigillo("verify", folder / "e.jsonl", "--policy", folder / "policy.toml").out
    assert 'that these keys are in hardware is what maker "Example Trackers" asserts' in shown


def test_an_existing_policy_is_replaced_only_by_force(folder: Path) -> None:
    (folder / "policy.toml").write_text("mine")
    refused(*arguments(folder, "--devices", folder / "devices"), says="is there already; --force")
    assert (folder / "policy.toml").read_text() == "mine"
    assert sigillo(*arguments(folder, "--devices", folder / "devices", "--force")).code == 0
    assert (folder / "policy.toml").stat().st_mode == (folder / "operator.toml").stat().st_mode  # the umask's
    assert sorted(path.name for path in folder.iterdir()) == ["devices", "operator.toml", "policy.toml"]


def pems() -> dict[str, bytes]:
    maker = Maker()
    leaf = maker.certify(DEVICES[0])[0]
    return {"root.pem": maker.certificate.public_bytes(Encoding.PEM), "leaf.pem": leaf.public_bytes(Encoding.PEM)}


def write_pem(folder: Path, name: str, pem: bytes) -> Path:
    (folder / name).write_bytes(pem)
    return folder / name


def test_refusals_leave_nothing_behind(folder: Path) -> None:
    key = folder / "devices" / "crate-1" / "signing.pub.pem"
    devices = ("--devices", folder / "devices")
    root, leaf = (write_pem(folder / "devices", name, pem) for name, pem in pems().items())
    for more, says in (
        ((), "[[device]]"),
        (("--device", "crate-1"), "must be ID=PUB.pem"),
        (("--device", "=x"), "must be ID=PUB.pem"),
        (("--device", f"a/b={key}"), "device a/b: must have"),
        (("--device", f"crate-1={folder / 'none.pem'}"), "none.pem"),
        (("--device", f"crate-1={folder / 'operator.toml'}"), "is not a public key"),
        (("--device", f"crate-1={key}", "--device", f"crate-2={key}"), "device[2].key: occurs twice"),
        (("--device", f"crate-1={key}", *devices), "occurs twice"),
        (("--devices", folder / "nowhere"), "no such folder"),
        (("--device", "crate-1=maker:Acme"), "no --maker has that name"),
        ((*devices, "--maker", "Acme"), "must be NAME=CA.pem"),
        ((*devices, "--maker", f"Acme={key}"), "is not a certificate"),
        ((*devices, "--maker", f"Acme={leaf}"), "is not a CA's"),
        ((*devices, "--hardware", "Acme"), "is the name of no --maker"),
        ((*devices, "--maker", f"A={root}", "--maker", f"A={root}"), "is there twice"),
        ((*devices, "--maker", f"A={root}", "--maker", f"B={root}"), "maker[2].ca (its key): occurs twice"),
        (("--device", "crate-1=maker:A", *devices, "--maker", f"A={root}"), "occurs twice"),
        (("--devices", folder), "has no device in it"),
        ((*devices, "--max-error", "soon"), "--max-error: must be"),
        ((*devices, "--operator", folder / "none.toml"), "no such file"),
        ((*devices, "--operator", folder / "operator.toml"), "occurs twice"),
        ((*devices, "-o", folder / "no" / "policy.toml"), "cannot be written"),
        ((*devices, "-o", folder), "is there already"),
    ):
        refused(*arguments(folder, *more), says=says)
    assert sorted(path.name for path in folder.iterdir()) == ["devices", "operator.toml"]


def test_a_published_file_that_is_wrong_is_named(folder: Path) -> None:
    (folder / "operator.toml").write_text("name = 1\n")
    refused(*arguments(folder, "--devices", folder / "devices"), says="operator.toml: ")


def test_check_says_whom_a_policy_trusts_and_warns(folder: Path) -> None:
    files = on_disk(folder)
    answer = sigillo("policy", "check", files.policy)
    assert answer.code == 0
    assert "operator Example Broker, trusted to mark messages at level declared" in answer.out
    assert answer.out.count("warning") == 4  # it has nobody but the operator
    text = files.policy.read_text().replace("allow_lost = false", "allow_lost = true")
    lines = [line for line in text.splitlines() if not line.startswith("plugin")]
    files.policy.write_text("\n".join(lines).replace('"declared"', '"image"'))
    value = json.loads(sigillo("policy", "check", files.policy, "--json").out)
    assert [warning.split(":")[0] for warning in value["warnings"] if "allow_un" not in warning] == [
        "missing.allow_lost",
        "missing.allow_no_beacon",
        'operator "Example Broker"',
        'operator "Example Broker"',
    ]
    assert value["devices"][0]["fingerprint"] == DEVICES[0].key.fingerprint


def test_check_names_what_is_wrong(folder: Path) -> None:
    path = folder / "policy.toml"
    path.write_text("version = 2\n")
    refused("policy", "check", path, says=f"{path}: version: must be 1; see spec/policy.md")
    refused("policy", "check", folder, says="is a directory")
    refused("policy", "check", folder / "none", says="no such file")
