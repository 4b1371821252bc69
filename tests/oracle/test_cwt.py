"""The `cwt` library accepts our marks, countersigned statements and device messages, and refuses them altered."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)

from sigillo.device.folder import KINDS
from sigillo.device.key import encode_public_key, generate_signing_key
from sigillo.device.message import encode_message
from sigillo.device.signer import FileSigner

CHECKOUT = Path(__file__).resolve().parents[2]
PYTHON = CHECKOUT / ".venv-oracle" / "bin" / "python"
SCRIPT = Path(__file__).with_name("cwt_check.py")
TOPIC = "braid/agent/crate-1/shadow/reported/"
Job = tuple[str, ...]
pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason="no second opinion: `make setup-test` makes .venv-oracle")


def ask(jobs: list[Job]) -> list[str]:
    """Reason of refusal per job, empty where accepted."""
    command = [str(PYTHON), str(SCRIPT), "batch"]
    done = subprocess.run(command, input=json.dumps(jobs), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    assert len(answers) == len(jobs)
    return answers


def vector(path: Path) -> dict[str, str]:
    lines = (line for line in path.read_text("utf-8").split("\n") if line and not line.startswith("#"))
    return {name: value.removeprefix(" ") for name, value in (line.split(":", 1) for line in lines)}


def accepted(format_name: str) -> list[dict[str, str]]:
    found = [vector(path) for path in sorted((CHECKOUT / "vectors" / format_name / "accept").glob("*.txt"))]
    assert found
    return found


def public(seed: str) -> str:
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed)).public_key().public_bytes_raw().hex()


def raw(spki: bytes) -> str:
    key = load_der_public_key(spki)
    ed25519 = len(spki) == 44
    encoding, form = (Encoding.Raw, PublicFormat.Raw) if ed25519 else (Encoding.X962, PublicFormat.UncompressedPoint)
    return key.public_bytes(encoding, form).hex()


def marks() -> list[Job]:
    return [("mark", v["object"], public(v["seed"])) for v in accepted("mark")]


def statements() -> list[Job]:
    return [
        ("statement", v["countersigned"], v["epoch_key"], public(v["log_seed"])) for v in accepted("epoch-statement")
    ]


def readings() -> list[Job]:
    """From the vectors, and fresh ones of the device SDK."""
    jobs: list[Job] = [
        ("reading", v["payload"], raw(bytes.fromhex(v["public_key"])), v["topic"].encode().hex())
        for v in accepted("reading")
    ]
    for kind in KINDS:
        signer = FileSigner(generate_signing_key(kind))
        payload = encode_message("cose", signer, "crate-1", TOPIC, ver=1, ts=1, body={"TEMP": 12.5})
        jobs.append(("reading", payload.hex(), raw(signer.public_key.spki), TOPIC.encode().hex()))
    return jobs


@pytest.mark.parametrize("make", [marks, statements, readings])
def test_accepted_as_made(make: object) -> None:
    jobs: list[Job] = make()
    assert ask(jobs) == [""] * len(jobs)


def altered(job: Job, spared: bytes = b"") -> list[Job]:
    """The job with one bit flipped in each byte of its object, the first occurrence of *spared* excepted."""
    kind, object_hex, *rest = job
    data = bytes.fromhex(object_hex)
    start = data.index(spared) if spared else 0
    positions = [p for p in range(len(data)) if not start <= p < start + len(spared)]
    return [(kind, (data[:p] + bytes([data[p] ^ 1]) + data[p + 1 :]).hex(), *rest) for p in positions]


def test_altered_mark_is_refused() -> None:
    """All but the salt, which is outside the signature: a wrong one makes the commitment fail (spec/mark.md)."""
    job = marks()[0]
    data = bytes.fromhex(job[1])
    salt_start = data.index(bytes.fromhex("3a00010000")) + 6  # label -65537, then the head of 16 bytes
    assert all(ask(altered(job, data[salt_start : salt_start + 16])))


def test_altered_statement_is_refused() -> None:
    assert all(ask(altered(statements()[0])))


def test_altered_reading_is_refused() -> None:
    for job in readings()[:2]:
        assert all(ask(altered(job)))


def test_wrong_key_topic_or_kind_is_refused() -> None:
    mark, statement, reading = marks()[0], statements()[0], readings()[0]
    stranger = public("00" * 32)
    assert all(
        ask(
            [
                (mark[0], mark[1], stranger),
                (statement[0], statement[1], stranger, statement[3]),
                (statement[0], statement[1], statement[2], stranger),
                (reading[0], reading[1], raw(FileSigner(generate_signing_key("p256")).public_key.spki), reading[3]),
                (reading[0], reading[1], reading[2], TOPIC.replace("1", "2").encode().hex()),
                ("mark", *statement[1:3]),
                ("mark", *reading[1:3]),
            ]
        )
    )


def test_statement_without_countersignature_is_refused() -> None:
    first = accepted("epoch-statement")[0]
    assert "countersignature" in ask([("statement", first["object"], first["epoch_key"], public(first["log_seed"]))])[0]


def test_files_as_a_stranger_would(tmp_path: Path) -> None:
    signer = FileSigner(generate_signing_key("p256"))
    payload = encode_message("cose", signer, "crate-1", TOPIC, ver=1, ts=1, body={})
    (tmp_path / "payload").write_bytes(payload)
    (tmp_path / "key.pem").write_bytes(encode_public_key(signer.public_key))

    def run(topic: str) -> int:
        command = [str(PYTHON), str(SCRIPT), "reading", str(tmp_path / "payload"), str(tmp_path / "key.pem"), topic]
        return subprocess.run(command, capture_output=True, check=False).returncode

    assert run(TOPIC) == 0
    assert run(TOPIC + "x") == 1
