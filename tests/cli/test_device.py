"""`sigillo device` as a person types it: output, files, exit codes, and never a stack trace."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding

from sigillo.broker.authority import Authority
from sigillo.core.checkpoint import encode_checkpoint
from sigillo.core.datagram import decode_datagram
from sigillo.core.reading import decode_reading
from sigillo.device.key import load_certificate, load_csr, load_public_key
from sigillo.device.registry import certificate_id
from sigillo.device.store import Outbox
from tests.adversary.maker import DAY, START, Maker
from tests.device.beacon_case import FORGER, checkpoint
from tests.device.beacon_case import OPERATOR as BROKER
from tests.device.plain_broker import PATIENCE_S, PlainBroker, private_pem, public_pem, running, until

SIGILLO = [sys.executable, "-m", "sigillo.cli.main"]
TOPIC = "braid/agent/crate-1/shadow/reported/"


def run(*arguments: object, expect: int = 0) -> subprocess.CompletedProcess[bytes]:
    command = [*SIGILLO, "device", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=120, check=False)
    assert b"Traceback" not in done.stderr
    assert done.returncode == expect, (done.stdout, done.stderr)
    if expect == 2:
        assert done.stderr.startswith(b"sigillo: error: ")
    return done


def refused(*arguments: object, match: str) -> None:
    assert match in run(*arguments, expect=2).stderr.decode()


@pytest.fixture
def crate(tmp_path: Path) -> Path:
    run("new", "crate-1", "-o", tmp_path / "trackers" / "crate-1")
    return tmp_path / "trackers" / "crate-1"


@pytest.fixture
def broker() -> Iterator[PlainBroker]:
    with running() as made:
        yield made


# --- new


def test_new_prints_the_fingerprint(tmp_path: Path) -> None:
    for kind in ("p256", "ed25519"):
        folder = tmp_path / kind
        text = run("new", f"crate-{kind}", "--key", kind, "-o", folder).stdout.decode()
        assert load_public_key(folder / "signing.pub.pem").fingerprint in text
    fields = json.loads(run("new", "crate-3", "-o", tmp_path / "c", "--json").stdout)
    assert fields == {
        "id": "crate-3",
        "folder": str(tmp_path / "c"),
        "key": "p256",
        "fingerprint": load_public_key(tmp_path / "c" / "signing.pub.pem").fingerprint,
    }


def test_new_refuses(crate: Path, tmp_path: Path) -> None:
    refused("new", "crate-1", "-o", crate, match="never overwritten")
    refused("new", "a/b", "-o", tmp_path / "x", match="device id 'a/b'")
    refused("new", "a\nb", "-o", tmp_path / "x", match="cannot be printed")
    refused("new", "crate-1", "--key", "rsa", match="--key")
    (tmp_path / "file").touch()
    refused("new", "crate-1", "-o", tmp_path / "file" / "x", match="choose a folder")
    assert not (tmp_path / "x").exists()


# --- sign


def test_sign_to_a_file_and_to_a_pipe(crate: Path, tmp_path: Path) -> None:
    key = load_public_key(crate / "signing.pub.pem")
    run("sign", crate, "--body", '{"TEMP": 12.5, "NOTE": "ä"}', "-o", tmp_path / "m")
    message = decode_datagram((tmp_path / "m").read_bytes())
    key.verify(message.signature, message.signed_bytes)
    assert message.ver == 1
    piped = run("sign", crate, "--body", "{}", "--form", "cose", "--ts", 1_700_000_000_000).stdout
    reading = decode_reading(piped, TOPIC)
    key.verify(reading.signature, reading.signed_bytes)
    assert (reading.ver, reading.ts, reading.device_id) == (2, 1_700_000_000_000, "crate-1")
    other = run("sign", crate, "--body", "{}", "--form", "cose", "--topic", "t").stdout
    reading = decode_reading(other, "t")
    key.verify(reading.signature, reading.signed_bytes)
    fields = json.loads(run("sign", crate, "--body", "{}", "-o", tmp_path / "n", "--json").stdout)
    assert fields["sequence"] == 4 and fields["topic"] == TOPIC
    with Outbox(crate) as outbox:
        assert (outbox.sequence, outbox.pending) == (4, [])


def test_sign_refuses(crate: Path, tmp_path: Path) -> None:
    refused("sign", crate, "--body", "{", "-o", tmp_path / "m", match="--body: is not JSON")
    refused("sign", crate, "--body", "[1]", "-o", tmp_path / "m", match="must be a JSON object")
    refused("sign", crate, "--body", '{"a": 1, "a": 2}', "-o", tmp_path / "m", match="occurs twice")
    refused("sign", crate, "--body", '{"a": NaN}', "-o", tmp_path / "m", match="not JSON")
    refused("sign", crate, "--body", '{"a": "\\ud800"}', "-o", tmp_path / "m", match="BODY")
    refused("sign", crate, "--body", "[" * 20000, "-o", tmp_path / "m", match="--body")
    refused("sign", crate, "--body", '{"a":' * 20 + "1" + "}" * 20, "-o", tmp_path / "m", match="deeper")
    refused("sign", crate, "--body", "{}", "--ts", -1, "-o", tmp_path / "m", match="--ts")
    refused("sign", tmp_path, "--body", "{}", "-o", tmp_path / "m", match="device.toml: not found")
    refused("sign", crate, "--body", "{}", "--json", match="-o")
    (tmp_path / "there").write_text("kept")
    refused("sign", crate, "--body", "{}", "-o", tmp_path / "there", match="is there already")
    refused("sign", crate, "--body", "{}", "-o", tmp_path / "no" / "m", match="it stays in the outbox")
    assert not (tmp_path / "m").exists()
    assert (tmp_path / "there").read_text() == "kept"
    with Outbox(crate) as outbox:  # the last one was signed: its number is taken, and not lost
        assert [message.sequence for message in outbox.pending] == [1]


def test_sign_with_a_beacon(crate: Path, tmp_path: Path) -> None:
    note, arguments = tmp_path / "checkpoint", ("sign", crate, "--body", "{}", "--beacon", tmp_path / "checkpoint")
    note.write_bytes(encode_checkpoint(checkpoint(7)))
    refused(*arguments, "-o", tmp_path / "m", match="log.vkey: not found")
    (crate / "log.vkey").write_text(f"{BROKER.log_key.vkey}\n")
    assert decode_datagram(run(*arguments).stdout).beacon == checkpoint(7).beacon_hash
    note.write_bytes(encode_checkpoint(checkpoint(7, by=FORGER)))
    refused(*arguments, "-o", tmp_path / "m", match="the note has no signature by")
    note.unlink()
    refused(*arguments, "-o", tmp_path / "m", match="checkpoint: cannot be read")
    with Outbox(crate) as outbox:
        assert outbox.sequence == 1, "what is refused uses no number"


def test_sign_into_a_closed_pipe_loses_nothing(crate: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [*SIGILLO, "device", "sign", str(crate), "--body", "{}"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert done.returncode == 2 and b"it stays in the outbox" in done.stderr and b"ignored" not in done.stderr
    with Outbox(crate) as outbox:
        assert [message.sequence for message in outbox.pending] == [1]


def test_sign_writes_no_binary_to_a_terminal(crate: Path) -> None:
    leader, follower = pty.openpty()
    command = [*SIGILLO, "device", "sign", str(crate), "--body", "{}"]
    done = subprocess.run(command, stdout=follower, stderr=subprocess.PIPE, check=False)
    os.close(leader)
    os.close(follower)
    assert done.returncode == 2 and b"-o" in done.stderr


# --- add


@pytest.fixture
def operator(tmp_path: Path) -> Path:
    """An operator folder with the CA that `sigillo up` makes, and the file of client CAs that it writes."""
    folder = tmp_path / "operator"
    (folder / "authority").mkdir(parents=True)
    (folder / "conf" / "tls").mkdir(parents=True)
    authority = Authority.create(folder / "authority", "localhost")
    (folder / "conf" / "tls" / "ca.cert.pem").write_bytes(authority.certificate)
    return folder


def test_add_a_folder(operator: Path, crate: Path) -> None:
    """The device gets its certificate and the CA's; `openssl` agrees that they belong together, for a client."""
    text = run("add", operator, crate).stdout.decode()
    assert load_public_key(crate / "signing.pub.pem").fingerprint in text
    pinned = operator / "devices" / "crate-1"
    assert load_public_key(pinned / "signing.pub.pem") == load_public_key(crate / "signing.pub.pem")
    assert (pinned / "tls.cert.pem").read_bytes() == (crate / "tls.cert.pem").read_bytes()
    command = ["openssl", "verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", crate / "ca.cert.pem"]
    assert subprocess.run([*command, crate / "tls.cert.pem"], capture_output=True, check=False).returncode == 0
    assert "echoes no checkpoint" in text and not (crate / "log.vkey").exists()
    published = operator / "published" / "operator.toml"
    published.parent.mkdir()
    published.write_text(f'name = "Example Broker"\nlog_key = "{BROKER.log_key.vkey}"\n')
    assert "log.vkey" in run("add", operator, crate).stdout.decode()
    assert (crate / "log.vkey").read_text() == f"{BROKER.log_key.vkey}\n"
    published.write_text('name = "Example Broker"\n')
    refused("add", operator, crate, match="operator.toml: log_key")


def test_add_a_tracker_that_made_its_own_keys(operator: Path, crate: Path, tmp_path: Path) -> None:
    csr, public = crate / "tls.csr.pem", crate / "signing.pub.pem"
    fields = json.loads(run("add", operator, "7c:9e:bd", "--csr", csr, "--pubkey", public, "--json").stdout)
    assert fields["id"] == "7c:9e:bd" and fields["fingerprint"] == load_public_key(public).fingerprint
    certificate = load_certificate(Path(fields["certificate"]))
    assert certificate_id(certificate, "it") == "7c:9e:bd"
    (tmp_path / "tls.pub.pem").write_bytes(public_pem(load_csr(csr).public_key()))
    refused("add", operator, "other", "--pubkey", tmp_path / "tls.pub.pem", match="in use as")
    run("add", operator, "7c:9e:bd", "--cert", fields["certificate"])


def test_add_a_certificate_of_the_signing_key(operator: Path, crate: Path, tmp_path: Path) -> None:
    """The maker certifies the device's request; the operator keeps it, now and after a renewal by id."""
    maker, request = Maker(), load_csr(crate / "signing.csr.pem")
    path = tmp_path / "signing.cert.pem"
    for serial, device in ((2, crate), (3, "crate-1")):
        chain = maker.certify(request.public_key(), "crate-1", serial=serial, not_after=START + 9000 * DAY)
        path.write_bytes(chain[0].public_bytes(Encoding.PEM))
        text = run("add", operator, device, "--signing-certificate", path).stdout.decode()
        assert "Evidence brings the certificate of its signing key" in text
        assert load_public_key(crate / "signing.pub.pem").fingerprint in text
    assert len(list((operator / "devices" / "crate-1" / "certificates").iterdir())) == 2
    refused("add", operator, "crate-2", "--signing-certificate", path, match='is of "crate-1", not of device "crate-2"')
    refused("add", operator, crate, "--signing-certificate", tmp_path / "none", match="none: cannot be read")


def test_add_refuses(operator: Path, crate: Path, tmp_path: Path) -> None:
    run("add", operator, crate)
    run("new", "crate-1", "-o", tmp_path / "thief")
    thief = tmp_path / "thief"
    refused("add", operator, thief, match="takes over its identity")
    refused("add", operator, "crate-1", "--pubkey", thief / "signing.pub.pem", match="takes over its identity")
    refused("add", operator, "crate-1", "--csr", thief / "tls.csr.pem", match="takes over its identity")
    assert not (thief / "tls.cert.pem").exists()
    refused("add", operator, "a/b", "--csr", thief / "tls.csr.pem", match="device id 'a/b'")
    refused("add", operator, "sigillo-archive", "--csr", thief / "tls.csr.pem", match="the broker's own")
    refused("add", operator, "x", "--csr", thief / "signing.pub.pem", match="is not a certificate request")
    refused("add", operator, "x", "--csr", tmp_path / "none", match="cannot be read")
    refused("add", operator, "x", "--csr", thief / "tls.csr.pem", "--cert", thief / "tls.csr.pem", match="give one")
    refused(
        "add", operator, "x", "--csr", thief / "tls.csr.pem", "--issuer", thief / "tls.csr.pem", match="needs --cert"
    )
    refused("add", operator, "x", "--pubkey", thief / "signing.key.pem", match="must not leave the device")
    refused("add", operator, tmp_path / "nothing", match="device.toml: not found")
    refused("add", tmp_path / "nothing", crate, match="sigillo up")
    assert sorted(path.name for path in (operator / "devices").iterdir()) == ["crate-1"]
    run("add", operator, thief, "--replace")
    assert (thief / "tls.cert.pem").exists()


def test_enrolled_device_connects(operator: Path, crate: Path, broker: PlainBroker) -> None:
    """With the real CA on both sides; strict X.509 checks are on from Python 3.13."""
    run("add", operator, crate)
    key = generate_private_key(SECP256R1())
    server = Authority.load(operator / "authority").issue_server(key.public_key(), "localhost", "127.0.0.1")
    broker.use((operator / "authority" / "ca.cert.pem").read_bytes(), server, private_pem(key))
    run("simulate", crate, "--broker", broker.address, "--count", 1)


# --- simulate


def enrol(broker: PlainBroker, folder: Path, device_id: str) -> Path:
    broker.make_device(folder, device_id)
    return folder


def test_simulate_fleet(broker: PlainBroker, tmp_path: Path) -> None:
    crates = [enrol(broker, tmp_path / name, name) for name in ("crate-1", "crate-2")]
    options = ["--broker", broker.address, "--count", 3, "--interval", 0]
    text = run("simulate", *crates, *options).stdout.decode()
    assert "crate-1: sent 3, 3 acknowledged, last number 3" in text and "crate-2: sent 3" in text
    fields = json.loads(run("simulate", crates[0], *options, "--qos", 2, "--form", "cose", "--json").stdout)
    assert fields["devices"][0]["acknowledged"] == 3 and fields["devices"][0]["last_sequence"] == 6
    fields = json.loads(run("simulate", crates[0], *options, "--qos", 0, "--json").stdout)
    assert fields["devices"][0]["written"] == 3 and fields["devices"][0]["acknowledged"] is None


def test_simulate_exit_code_1_when_refused(tmp_path: Path) -> None:
    with running(acl="user nobody\ntopic read x\n") as broker:
        crate = enrol(broker, tmp_path / "c", "crate-1")
        done = run("simulate", crate, "--broker", broker.address, "--count", 2, "--interval", 0, expect=1)
    assert b"refused 2 \xc3\x97 Not authorized; 2 in the outbox" in done.stdout


def test_simulate_exit_code_2_when_it_cannot_start(broker: PlainBroker, crate: Path, tmp_path: Path) -> None:
    address = ["--broker", broker.address, "--count", 1]
    assert b"tls.cert.pem: not found" in run_failed("simulate", crate, *address)
    enrolled = enrol(broker, tmp_path / "c", "crate-1")
    unreachable = run_failed("simulate", enrolled, "--broker", "127.0.0.1:1", "--count", 1, "--patience", 0.2)
    assert b"nothing arrived" in unreachable and b"refused" in unreachable
    refused("simulate", enrolled, "--broker", "nowhere", match="HOST:PORT")
    refused("simulate", enrolled, enrolled, *address, match="named twice")
    refused("simulate", tmp_path / "none", *address, match="device.toml: not found")
    refused("simulate", match="DEVICE")


def run_failed(*arguments: object) -> bytes:
    """Output of a run that ends with 2 after the summary."""
    command = [*SIGILLO, "device", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, timeout=120, check=False)
    assert done.returncode == 2 and b"Traceback" not in done.stderr, (done.stdout, done.stderr)
    return done.stdout


def test_simulate_misbehaves_on_request(broker: PlainBroker, tmp_path: Path) -> None:
    crate = enrol(broker, tmp_path / "c", "crate-1")
    options = ["--broker", broker.address, "--count", 2, "--interval", 0, "--burst", 5, "--other", "crate-2"]
    kinds = ["--misbehave", "flood", "--misbehave", "other-topic", "--misbehave", "flood"]
    text = run("simulate", crate, *options, *kinds).stdout.decode()
    assert "crate-1: sent 2, 2 acknowledged, last number 2\n  flood: sent 10, 10 accepted\n" in text
    assert "  other-topic: sent 2, 0 accepted, refused 2 × Not authorized\n" in text
    fields = json.loads(run("simulate", crate, *options, *kinds, "--json").stdout)["devices"][0]
    assert fields["misbehaviour"] == {
        "flood": {"sent": 10, "accepted": 10, "refused": {}, "disconnected": 0},
        "other-topic": {"sent": 2, "accepted": 0, "refused": {"Not authorized": 2}, "disconnected": 0},
    }
    assert json.loads(run("simulate", crate, *options, "--json").stdout)["devices"][0]["misbehaviour"] == {}


def test_simulate_misbehaves_on_this_machine_only(broker: PlainBroker, tmp_path: Path) -> None:
    crate = enrol(broker, tmp_path / "c", "crate-1")
    refused("simulate", crate, "--misbehave", "flood", "--broker", "192.0.2.1:8883", match="on this machine only")
    refused("simulate", crate, "--misbehave", "nonsense", match="nonsense")
    refused("simulate", crate, "--misbehave", "other-topic", "--other", "a/b", match="--other 'a/b'")
    refused("simulate", crate, "--misbehave", "huge", "--size", 268_435_456, match="--size")
    with Outbox(crate) as outbox:
        assert (outbox.sequence, outbox.pending) == (0, [])


def test_simulate_stops_cleanly_on_ctrl_c(broker: PlainBroker, tmp_path: Path) -> None:
    crate = enrol(broker, tmp_path / "c", "crate-1")
    command = [*SIGILLO, "device", "simulate", str(crate), "--broker", broker.address, "--interval", "0.02", "--json"]
    with (
        broker.reader() as received,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process,
    ):
        until(lambda: len(received) >= 5)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, errors) == (0, b"")
    tally = json.loads(output)["devices"][0]
    assert tally["acknowledged"] == tally["sent"] == tally["last_sequence"], str(tally)
    assert tally["unsettled"] == 0


def test_kill_9_and_again(broker: PlainBroker, tmp_path: Path) -> None:
    """A killed simulator: the next run sends what was signed; over all runs every number arrives with one content."""
    crate = enrol(broker, tmp_path / "c", "crate-1")
    command = [*SIGILLO, "device", "simulate", str(crate), "--broker", broker.address, "--interval", "0"]
    with broker.reader() as received:
        for _ in range(3):
            before = len(received)
            with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
                until(lambda: len(received) >= before + 3)  # noqa: B023 (called at once)
                process.kill()
        run("simulate", crate, "--broker", broker.address, "--count", 0)
        with Outbox(crate) as outbox:
            assert outbox.pending == []
            last = outbox.sequence
        until(lambda: {decode_datagram(m.payload).ver for m in received} == set(range(1, last + 1)))
        time.sleep(0.1)
    contents = {m.payload for m in received}
    assert len(contents) == last


def test_simulate_without_the_mqtt_client_says_what_to_install(crate: Path, tmp_path: Path) -> None:
    """As after `pip install sigillo` without extras: paho cannot be imported, the rest of `device` works."""
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['paho'] = None\n")
    search = os.pathsep.join([str(tmp_path), *(path for path in sys.path if path)])
    environment = {**os.environ, "PYTHONPATH": search}
    command = [*SIGILLO, "device", "simulate", str(crate), "--count", "1"]
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert done.returncode == 2 and b"pip install 'sigillo[broker]'" in done.stderr
    signing = [*SIGILLO, "device", "sign", str(crate), "--body", "{}", "-o", str(tmp_path / "m")]
    assert subprocess.run(signing, capture_output=True, env=environment, check=False).returncode == 0


@pytest.mark.parametrize("subcommand", ["", "new", "add", "sign", "simulate"])
def test_help_has_examples(subcommand: str) -> None:
    text = run(*([subcommand] if subcommand else []), "--help").stdout.decode()
    assert f"sigillo device {subcommand}" in text
