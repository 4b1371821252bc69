"""`sigillo policy`: whose TPMs are believed. Names, fingerprints and warnings; nothing is believed by mistake."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sigillo.core.attestation_trust import AttestationTrust, AttesterTrust, RegistrarTrust
from sigillo.core.endorsement import EndorsementRoot
from sigillo.core.policy import decode_policy
from sigillo.report.signature_exhibit import pem

from ..adversary.attested import attested
from ..adversary.maker import Maker
from ..vector.accept_tpm import REGISTRAR
from .command import refused, sigillo

STORY = attested()
OPERATOR = STORY.broker.operator
AK = STORY.tpm.key.name.hex()
EK = "5e" * 32
CHIPS, PROGRAMS = Maker("Example Chips"), Maker("Example Programs")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What a reader got: published files, devices' keys, a root of each maker, a registrar's key."""
    hashes = {part: value.hex() for part, (value,) in STORY.policy.operators[0].reference_values.items()}
    lines = [f'name = "{OPERATOR}"', f'log_key = "{STORY.broker.log_key.vkey}"']
    (tmp_path / "operator.toml").write_text(
        "\n".join([*lines, *(f'{part} = ["{value}"]' for part, value in hashes.items())]) + "\n"
    )
    for device in STORY.devices:
        own = tmp_path / "devices" / device.id
        own.mkdir(parents=True)
        (own / "signing.pub.pem").write_bytes(pem(device.key.spki))
    for maker, name in ((CHIPS, "chips.pem"), (PROGRAMS, "programs.pem")):
        (tmp_path / name).write_bytes(maker.certificate.public_bytes(Encoding.PEM))
    public = Ed25519PublicKey.from_public_bytes(REGISTRAR.public)
    spki = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "registrar.pub.pem").write_bytes(spki)
    (tmp_path / "e.jsonl").write_bytes(STORY.file())
    return tmp_path


ALONE = ["--allow-unanchored", "--allow-unwitnessed", "--allow-no-beacon"]


def arguments(folder: Path, *more: object) -> list[object]:
    head = ["policy", "new", "--operator", folder / "operator.toml", "--devices", folder / "devices"]
    return [*head, "-o", folder / "policy.toml", "--force", *ALONE, *more]


def endorsed(folder: Path) -> list[object]:
    return [
        *("--endorsement", f"{OPERATOR}={EK}", "--tpm-maker", f"Chips={folder}/chips.pem"),
        *("--registrar", f"Uni={folder}/registrar.pub.pem"),
    ]


def test_a_software_attester_reaches_launched(folder: Path) -> None:
    pinned = ["--software-attester", f"{OPERATOR}={AK}", "--level", "launched"]
    answer = sigillo(*arguments(folder, *pinned, "--allow-software-tpm"))
    assert (answer.code, answer.err) == (0, "")
    assert f"attester of operator {OPERATOR}: a SOFTWARE TPM" in answer.out
    assert AK in answer.out
    assert "warning: attestation.allow_software: " in answer.out
    policy = decode_policy((folder / "policy.toml").read_bytes())
    assert policy.attestation == STORY.attesters
    assert policy.operators[0].level == "launched"
    said = sigillo("verify", folder / "e.jsonl", "--policy", folder / "policy.toml")
    assert said.code == 0, said
    assert "Level launched" in said.out


def test_without_the_permission_a_software_tpm_attests_nothing_and_is_warned_about(folder: Path) -> None:
    answer = sigillo(*arguments(folder, "--software-attester", f"{OPERATOR}={AK}", "--level", "launched"))
    assert f'warning: attester of operator "{OPERATOR}": is a software TPM' in answer.out
    assert sigillo("verify", folder / "e.jsonl", "--policy", folder / "policy.toml").code == 1


def test_a_chip_is_no_software_tpm(folder: Path) -> None:
    answer = sigillo(*arguments(folder, "--attester", f"{OPERATOR}={AK}", "--level", "launched"))
    assert answer.code == 0
    assert "software tpm" not in answer.out.lower()
    (found,) = decode_policy((folder / "policy.toml").read_bytes()).attestation.attesters
    assert found == AttesterTrust(OPERATOR, (STORY.tpm.key.name,))


def test_an_endorsement_with_its_maker_and_registrar(folder: Path) -> None:
    more = ["--software-tpm-maker", f"Programs={folder}/programs.pem", "--identity", f"{OPERATOR}=broker.example/log"]
    answer = sigillo(*arguments(folder, *endorsed(folder), *more, "--level", "launched"))
    assert (answer.code, answer.err) == (0, "")
    trust = decode_policy((folder / "policy.toml").read_bytes()).attestation
    chips, programs = (
        EndorsementRoot(name, maker.certificate, software)
        for name, maker, software in (("Chips", CHIPS, False), ("Programs", PROGRAMS, True))
    )
    pinned = AttesterTrust(OPERATOR, endorsement_keys=(bytes.fromhex(EK),), identity="broker.example/log")
    assert trust == AttestationTrust((chips, programs), (RegistrarTrust("Uni", REGISTRAR.public),), (pinned,))
    assert "a TPM that a registrar knows as broker.example/log" in answer.out
    assert "TPM maker Programs, trusted to certify software TPMs, which prove nothing about a machine" in answer.out
    assert f"endorsement key  SHA-256 {EK}" in answer.out
    shown = json.loads(sigillo("policy", "check", folder / "policy.toml", "--json").out)
    assert shown["attesters"] == [
        {
            "operator": OPERATOR,
            "keys": [],
            "software": None,
            "endorsement_keys": [EK],
            "identity": "broker.example/log",
        }
    ]
    assert [maker["root"] for maker in shown["tpm_makers"]] == [
        maker.trust().fingerprint for maker in (CHIPS, PROGRAMS)
    ]
    assert [maker["software"] for maker in shown["tpm_makers"]] == [False, True]
    (registrar,) = shown["registrars"]
    assert registrar["fingerprint"] in answer.out


def test_the_identity_is_the_operators_name_where_it_is_not_said(folder: Path) -> None:
    assert sigillo(*arguments(folder, *endorsed(folder))).code == 0
    (found,) = decode_policy((folder / "policy.toml").read_bytes()).attestation.attesters
    assert found.identity == OPERATOR


def test_an_attester_without_a_level_and_its_waiver_are_warned_about(folder: Path) -> None:
    answer = sigillo(*arguments(folder, "--attester", f"{OPERATOR}={AK}", "--allow-unattested"))
    assert "an [[attester]] is named, so its marks must be attested" in answer.out
    assert "warning: missing.allow_unattested: " in answer.out
    policy = decode_policy((folder / "policy.toml").read_bytes())
    assert policy.missing == replace(policy.missing, allow_unattested=True)


def test_a_level_without_an_attester_is_warned_about(folder: Path) -> None:
    assert 'level "launched" needs an [[attester]]' in sigillo(*arguments(folder, "--level", "launched")).out


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--level", "certified"], "--level"),
        (["--attester", "Example Broker"], "--attester Example Broker: must be OPERATOR=KEYNAME"),
        (["--attester", "=x"], "must be OPERATOR=KEYNAME"),
        (["--attester", "Example Broker=00"], "must be the TPM name of a key"),
        (["--attester", f"Example Broker={AK.upper()}"], "must be the TPM name of a key"),
        (["--attester", f"Other={AK}"], "attester[1].operator: is the name of no [[operator]]"),
        (2 * ["--attester", f"{OPERATOR}={AK}"], "is there twice"),
        (["--attester", f"{OPERATOR}={AK}", "--software-attester", f"{OPERATOR}={AK}"], "choose one of them"),
        (["--attester", f"{OPERATOR}={AK}", "--endorsement", f"{OPERATOR}={EK}"], "choose one of them"),
        (["--endorsement", f"{OPERATOR}=5e"], "must be the SHA-256 of an EK"),
        (["--endorsement", f"{OPERATOR}={EK}"], "needs a [[tpm_maker]]"),
        (["--identity", f"{OPERATOR}=x"], "there is no --endorsement of that operator"),
        (["--tpm-maker", "Chips=FOLDER/chips.pem"], "vouches for nothing without an --endorsement"),
        (["--registrar", "Uni=FOLDER/registrar.pub.pem"], "vouches for nothing without an --endorsement"),
        (["--tpm-maker", "Chips"], "must be NAME=ROOT.pem"),
        (["--tpm-maker", "Chips=FOLDER/none.pem"], "none.pem: cannot be read"),
        (["--tpm-maker", "Chips=FOLDER/operator.toml"], "is not a certificate"),
        (["--registrar", "Uni=FOLDER/none.pem"], "no such file"),
        (["--registrar", "Uni=FOLDER/operator.toml"], "is not a public key in PEM"),
        (["--registrar", "Uni"], "must be NAME=KEY.pem"),
    ],
)
def test_refusals_name_the_option_and_a_remedy(folder: Path, more: list[str], says: str) -> None:
    refused(*arguments(folder, *(word.replace("FOLDER", str(folder)) for word in more)), says=says)
    assert not (folder / "policy.toml").exists()


def test_a_registrar_with_another_kind_of_key(folder: Path) -> None:
    p256 = next(path for path in folder.glob("devices/*/signing.pub.pem") if len(path.read_bytes()) > 150)
    more = ["--endorsement", f"{OPERATOR}={EK}", "--registrar", f"Uni={p256}"]
    refused(*arguments(folder, *more), says="is not an Ed25519 key")


def test_a_registrar_whose_signatures_would_bind_nothing(folder: Path) -> None:
    weak = Ed25519PublicKey.from_public_bytes(bytes(32)).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / "registrar.pub.pem").write_bytes(weak)
    refused(*arguments(folder, *endorsed(folder)), says="is no key of a registrar: the Ed25519 public key is of small")


def test_two_makers_with_one_root(folder: Path) -> None:
    more = [*endorsed(folder), "--software-tpm-maker", f"Programs={folder}/chips.pem"]
    refused(*arguments(folder, *more), says="tpm_maker[2].root: occurs twice")
