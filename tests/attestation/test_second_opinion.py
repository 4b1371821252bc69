"""Stock tools, which we did not write: they accept what we make, and refuse it altered."""

from __future__ import annotations

import dataclasses
import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sigillo.attestation import software_tpm
from sigillo.core.attestation import AttestationEvidence
from sigillo.core.event_log import LoggedEvent, decode_event_log, encode_event_log, replay
from sigillo.core.quote import LAUNCH_PCR
from sigillo.core.tpm import sized

from ..vector import accept_ima
from ..vector.accept_tpm import BOOT, evidences
from ..vector.sample_tpm import LAUNCHES, OPENING
from . import rig

pytestmark = pytest.mark.skipif(shutil.which("tpm2_checkquote") is None, reason="needs the package tpm2-tools")
RECORDED = ("swtpm-opening", "swtpm-closing", "swtpm-challenged")


def run(*words: str | Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(words, capture_output=True, timeout=60)


def checkquote(evidence: AttestationEvidence, folder: Path, qualification: bytes, log: bytes | None = None) -> bool:
    """`tpm2_checkquote` on the structures as the TPM gave them, and the PCR values as that tool writes them."""
    files = {
        "key": sized(evidence.key_bytes),
        "quote": evidence.attest_bytes,
        "signature": evidence.signature_bytes,
        "pcrs": pcr_file(evidence.pcrs),
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    command: list[str | Path] = ["tpm2_checkquote", "-g", "sha256", "-q", qualification.hex()]
    command += ["-u", folder / "key", "-m", folder / "quote", "-s", folder / "signature", "-f", folder / "pcrs"]
    if log is not None:
        (folder / "log").write_bytes(log)
        command += ["-e", folder / "log"]
    return run(*command).returncode == 0


def pcr_file(pcrs: tuple[bytes, ...]) -> bytes:
    """What `tpm2_quote --pcr` writes: the selection of up to 16 banks, then lists of up to eight digests."""
    selection = struct.pack("<IHB4sx", 1, 0x000B, 3, b"\xff\x7f\0\0") + bytes(15 * 8)
    lists = [pcrs[start : start + 8] for start in range(0, len(pcrs), 8)]
    body = b"".join(struct.pack("<I528s", len(found), b"".join(map(_digest, found))) for found in lists)
    return selection + struct.pack("<I", len(lists)) + body


def _digest(value: bytes) -> bytes:
    return struct.pack("<H64s", len(value), value)


@pytest.mark.parametrize("name", RECORDED)
def test_tpm2_checkquote(name: str, tmp_path: Path) -> None:
    evidence = evidences()[name]
    qualification = evidence.subject.qualifying_data
    assert checkquote(evidence, tmp_path, qualification)
    assert not checkquote(evidence, tmp_path, bytes(32))
    for part in ("attest_bytes", "signature_bytes"):
        data = getattr(evidence, part)
        changed = dataclasses.replace(evidence, **{part: data[:-1] + bytes([data[-1] ^ 1])})
        assert not checkquote(changed, tmp_path, qualification), part
    other = (*evidence.pcrs[:LAUNCH_PCR], bytes(32), *evidence.pcrs[LAUNCH_PCR + 1 :])
    assert not checkquote(dataclasses.replace(evidence, pcrs=other), tmp_path, qualification)


def test_tpm2_checkquote_reads_the_launch_log(tmp_path: Path) -> None:
    evidence = evidences()["swtpm-opening"]
    qualification = evidence.subject.qualifying_data
    assert checkquote(evidence, tmp_path, qualification, encode_event_log(LAUNCHES))
    assert not checkquote(evidence, tmp_path, qualification, encode_event_log(LAUNCHES[1:]))


def test_tpm2_checkquote_on_a_fresh_quote(tpm_folder: Path, tmp_path: Path) -> None:
    with rig.attester_of(tpm_folder) as (attester, _):
        evidence = attester.quote(OPENING)
    assert checkquote(evidence, tmp_path, OPENING.qualifying_data)


def replayed(log: bytes, folder: Path) -> dict[int, bytes] | None:
    """What `tpm2_eventlog` says that a log leads to; None where it does not read it."""
    (folder / "log").write_bytes(log)
    done = run("tpm2_eventlog", folder / "log")
    if done.returncode != 0:
        return None
    _, _, pcrs = done.stdout.decode().partition("\npcrs:\n")
    found = re.findall(r"^ +(\d+) *: 0x([0-9a-f]{64})$", pcrs, re.MULTILINE)
    return {int(index): bytes.fromhex(value) for index, value in found}


def test_tpm2_eventlog_reads_a_real_boot_as_we_do(tmp_path: Path) -> None:
    log = accept_ima.recorded()["boot_log"]
    ours = {index: value for index, value in enumerate(replay(decode_event_log(log).events)) if value != bytes(32)}
    assert replayed(log, tmp_path) == ours


@pytest.mark.parametrize("events", [LAUNCHES, BOOT[1:], (*BOOT[1:], *LAUNCHES)], ids=["launches", "boot", "both"])
def test_tpm2_eventlog(events: tuple[LoggedEvent, ...], tmp_path: Path) -> None:
    """Without StartupLocality, which its replay leaves out up to version 5.4."""
    log = encode_event_log(events)
    ours = {index: value for index, value in enumerate(replay(events)) if value != bytes(32)}
    assert replayed(log, tmp_path) == ours
    assert replayed(log[:-1], tmp_path) is None
    at = log.index(events[-1].digest)
    assert replayed(log[:at] + bytes([log[at] ^ 1]) + log[at + 1 :], tmp_path) != ours


def test_tpm2_makecredential(tpm_folder: Path, tmp_path: Path) -> None:
    """A credential that libtss2 has made opens in our hands."""
    secret = b"what only this TPM gives up"
    with rig.attester_of(tpm_folder) as (attester, _):
        certificate = x509.load_der_x509_certificate(attester.endorsement_certificate())
        key = certificate.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (tmp_path / "ek.pem").write_bytes(key)
        (tmp_path / "secret").write_bytes(secret)
        command = [
            "tpm2_makecredential",
            "-T",
            "none",
            "-u",
            tmp_path / "ek.pem",
            "-G",
            "rsa",
            "-s",
            tmp_path / "secret",
        ]
        done = run(*command, "-n", attester.key.name.hex(), "-o", tmp_path / "made")
        assert done.returncode == 0, done.stderr
        made = (tmp_path / "made").read_bytes()[8:]  # after its own magic and version
        end = 2 + int.from_bytes(made[:2], "big")
        assert attester.activate(made[:end], made[end:]) == secret


def test_openssl_verifies_the_ek_of_a_fresh_tpm(tpm_folder: Path, tmp_path: Path) -> None:
    issuer, root = software_tpm.maker_certificates(tpm_folder)
    with rig.attester_of(tpm_folder) as (attester, _):
        certificate = attester.endorsement_certificate()

    def accepts(leaf: bytes) -> bool:
        (tmp_path / "ek.der").write_bytes(leaf)
        command = ["openssl", "verify", "-no-CApath", "-no-CAstore", "-ignore_critical", "-CAfile", root]
        return run(*command, "-untrusted", issuer, tmp_path / "ek.der").returncode == 0

    assert accepts(certificate)
    assert not accepts(certificate[:-1] + bytes([certificate[-1] ^ 1]))
