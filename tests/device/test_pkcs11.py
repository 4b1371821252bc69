"""Signing keys in a token: SoftHSM signs, our verifier and `openssl` accept, and the key never leaves it."""

from __future__ import annotations

import base64
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from sigillo.core.datagram import decode_datagram
from sigillo.core.device_key import der_signature
from sigillo.core.reading import decode_reading
from sigillo.device.folder import load_device_folder
from sigillo.device.key import load_csr, load_public_key
from sigillo.device.store import Outbox
from sigillo.x509 import spki_of

from ..adversary.broker import Broker
from ..adversary.device import Device
from ..adversary.maker import Maker, line
from ..adversary.story import verdict_on
from .plain_broker import running, until
from .token import MODULE, PIN, Token

TOPIC = "braid/agent/crate-1/shadow/reported/"


@pytest.fixture
def token(tmp_path: Path) -> Token:
    return Token(tmp_path / "hsm")


@pytest.fixture
def crate(token: Token, tmp_path: Path) -> Path:
    token.device("new", "crate-1", "-o", tmp_path / "crate-1", "--pkcs11", token.uri(), "--generate")
    return tmp_path / "crate-1"


@pytest.mark.parametrize("kind", ["p256", "ed25519"])
def test_a_token_signs_and_openssl_agrees(token: Token, tmp_path: Path, kind: str) -> None:
    crate = tmp_path / "crate-1"
    made = token.device("new", "crate-1", "-o", crate, "--pkcs11", token.uri(), "--generate", "--key", kind, "--json")
    key = load_public_key(crate / "signing.pub.pem")
    assert json.loads(made.stdout)["fingerprint"] == key.fingerprint and key.kind == kind
    datagram = decode_datagram(token.device("sign", crate, "--body", '{"TEMP": 12.5}').stdout)
    reading = decode_reading(token.device("sign", crate, "--body", "{}", "--form", "cose").stdout, TOPIC)
    assert (datagram.ver, reading.ver) == (1, 2)
    for message in (datagram, reading):
        key.verify(message.signature, message.signed_bytes)
        (tmp_path / "tbs").write_bytes(message.signed_bytes)
        signature = der_signature(message.signature) if kind == "p256" else message.signature
        (tmp_path / "sig").write_bytes(signature)
        command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", crate / "signing.pub.pem", "-rawin"]
        command += ["-digest", "sha256"] if kind == "p256" else []
        done = subprocess.run([*command, "-in", tmp_path / "tbs", "-sigfile", tmp_path / "sig"], capture_output=True)
        assert done.returncode == 0, done


@pytest.mark.parametrize("kind", ["p256", "ed25519"])
def test_the_token_signs_the_request_for_a_certificate(token: Token, tmp_path: Path, kind: str) -> None:
    crate = tmp_path / "crate-1"
    token.device("new", "crate-1", "-o", crate, "--pkcs11", token.uri(), "--generate", "--key", kind)
    command = ["openssl", "req", "-verify", "-noout", "-subject", "-pubkey", "-in", crate / "signing.csr.pem"]
    done = subprocess.run(command, capture_output=True, check=True)
    assert b"CN = crate-1" in done.stdout and b"verify OK" in done.stderr
    assert (crate / "signing.pub.pem").read_bytes() in done.stdout


@pytest.mark.parametrize("form", ["datagram", "cose"])
def test_a_maker_certifies_a_key_in_a_token_and_evidence_verifies(token: Token, crate: Path, form: str) -> None:
    """From the request that the token signed to a verdict that says who asserts that the key is in hardware."""
    maker, broker, tracker = Maker(), Broker(), Device("crate-1")
    request = load_csr(crate / "signing.csr.pem")
    chain = maker.certify(request.public_key(), "crate-1")
    payload = token.device("sign", crate, "--body", "{}", "--form", form).stdout
    broker.publish(tracker, payload=payload)
    policy = broker.policy(devices=(maker.device(tracker, hardware=True),), makers=(maker.trust(hardware=True),))
    verdict = verdict_on([line(tracker, chain), *broker.lines], policy)
    assert verdict.verified, verdict.reason
    assert any("asserts; nothing here shows it" in limit for limit in verdict.limits)
    assert not verdict_on(broker.lines, policy).verified


def test_a_generated_key_cannot_be_taken_out(token: Token, crate: Path) -> None:
    token.python(
        "key = session.get_key(ObjectClass.PRIVATE_KEY, label='crate-1')\n"
        "assert key[Attribute.SENSITIVE] and key[Attribute.ALWAYS_SENSITIVE] and key[Attribute.PRIVATE]\n"
        "assert not key[Attribute.EXTRACTABLE] and key[Attribute.NEVER_EXTRACTABLE] and key[Attribute.LOCAL]\n"
        "assert not key[Attribute.DERIVE] and not key[Attribute.DECRYPT] and not key[Attribute.UNWRAP]\n"
        "try:\n    key[Attribute.VALUE]\nexcept pkcs11.PKCS11Error:\n    pass\nelse:\n    raise SystemExit('read')\n"
    )


def test_neither_key_nor_pin_is_in_the_device_folder(token: Token, tmp_path: Path) -> None:
    """With a key that the test knows, so that its very bytes can be looked for."""
    key = generate_private_key(SECP256R1())
    token.keep("crate-1", key)
    crate = tmp_path / "crate-1"
    token.device("new", "crate-1", "-o", crate, "--pkcs11", token.uri())
    token.device("sign", crate, "--body", "{}", "-o", tmp_path / "message")
    assert load_public_key(crate / "signing.pub.pem").spki == spki_of(key.public_key())
    secret = key.private_numbers().private_value.to_bytes(32, "big")
    encoded = {secret[at:] for at in range(3)}
    forms = [secret, secret.hex().encode(), *(base64.b64encode(part)[:36] for part in encoded), PIN.encode()]
    files = [path for path in crate.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"device.toml", "signing.pub.pem", "signing.csr.pem", "tls.key.pem"}
    for path in files:
        content = path.read_bytes()
        plain = b"".join(base64.b64decode(part) for part in re.findall(rb"-{5}\n([A-Za-z0-9+/=\n]+)-{5}", content))
        assert not any(form in content or form in plain for form in forms), path
        assert (b"PRIVATE KEY" in content) == (path.name == "tls.key.pem"), path
    tls = load_pem_private_key((crate / "tls.key.pem").read_bytes(), None)
    assert spki_of(tls.public_key()) != spki_of(key.public_key())
    assert load_device_folder(crate).token is not None


def test_an_existing_key_is_used_and_never_overwritten(token: Token, crate: Path, tmp_path: Path) -> None:
    new = ("new", "crate-1", "-o", tmp_path / "x")
    token.refused(*new, "--pkcs11", token.uri(), "--generate", match="keys are never overwritten")
    token.refused(*new, "--pkcs11", token.uri(), "--key", "ed25519", match="is p256, not ed25519")
    token.refused("new", "crate-1", "-o", crate, "--pkcs11", token.uri("other"), "--generate", match="there already")
    token.refused(*new, "--pkcs11", token.uri("other"), match="has no private key object='other'")
    assert not (tmp_path / "x").exists()
    token.device(*new, "--pkcs11", token.uri())
    assert load_public_key(tmp_path / "x" / "signing.pub.pem") == load_public_key(crate / "signing.pub.pem")


def test_what_is_not_there_is_named(token: Token, crate: Path, tmp_path: Path) -> None:
    new, uri = ("new", "crate-1", "-o", tmp_path / "x", "--pkcs11"), token.uri()
    token.refused(*new, uri.replace("token=Crate", "token=Box"), match="token 'Box': is not there; tokens")
    token.refused(*new, uri.replace("token=Crate", "serial=77"), match="serial number '77': is not there")
    token.refused(*new, uri.replace(str(MODULE), "/nowhere/lib.so"), match="/nowhere/lib.so: no such PKCS#11 library")
    token.refused(*new, uri.replace(str(MODULE), "/usr/bin/env"), match="/usr/bin/env: is not a PKCS#11 library")
    token.refused(*new, token.uri(pin_file=tmp_path / "none"), match="none: cannot be read")
    token.refused("new", "crate-1", "--generate", match="needs --pkcs11")
    no_token = tmp_path / "empty.conf"
    (tmp_path / "empty").mkdir()
    no_token.write_text(f"directories.tokendir = {tmp_path / 'empty'}\n")
    sign = ("sign", crate, "--body", "{}", "-o", tmp_path / "m")
    token.refused(*sign, match="token 'Crate': is not there", SOFTHSM2_CONF=str(no_token))
    assert not (tmp_path / "x").exists() and not (tmp_path / "m").exists()
    with Outbox(crate) as outbox:
        assert outbox.sequence == 0, "a message that could not be signed uses no number"


def test_pins(token: Token, crate: Path, tmp_path: Path) -> None:
    """From the URI's file, else from the environment; wrong, absent and readable by others are told apart."""
    new, uri = ("new", "crate-1", "-o", tmp_path / "x", "--pkcs11"), token.uri()
    bare = uri.partition("&pin-source")[0]
    wrong = tmp_path / "wrong"
    wrong.touch(0o600)
    wrong.write_text("123456")
    token.refused(*new, token.uri(pin_file=wrong), match="the PIN is wrong")
    token.refused(*new, bare, match="needs its PIN: add pin-source=file:/PATH")
    token.refused(*new, bare, match="the PIN is wrong", SIGILLO_PKCS11_PIN="9")
    token.refused(*new, f"{bare}&pin-value={PIN}", match="has a PIN in it (pin-value)")
    token.pin_file.chmod(0o644)
    token.refused(*new, uri, match="others than its owner may read this PIN")
    assert not (tmp_path / "x").exists()
    token.device(*new, bare, SIGILLO_PKCS11_PIN=PIN)
    assert PIN not in (tmp_path / "x" / "device.toml").read_text()


def test_the_pin_is_asked_for_on_a_terminal(token: Token, crate: Path, tmp_path: Path) -> None:
    bare = token.uri().partition("&pin-source")[0]
    (crate / "device.toml").write_text((crate / "device.toml").read_text().replace(token.uri(), bare))
    leader, follower = pty.openpty()
    command = ["setsid", "--ctty", "--wait", sys.executable, "-m", "sigillo.cli.main", "device", "sign", str(crate)]
    command += ["--body", "{}", "-o", str(tmp_path / "m")]
    with subprocess.Popen(command, env=token.environment, stdin=follower, stdout=follower, stderr=follower) as process:
        os.close(follower)
        shown = b""
        while b"PIN of token 'Crate': " not in shown:
            shown += os.read(leader, 1000)
        os.write(leader, f"{PIN}\n".encode())
        assert process.wait(60) == 0
    os.close(leader)
    assert decode_datagram((tmp_path / "m").read_bytes()).ver == 1


def test_keys_that_sigillo_cannot_verify_are_refused(token: Token, tmp_path: Path) -> None:
    new = ("new", "crate-1", "-o", tmp_path / "x", "--pkcs11")
    token.keep("p384", generate_private_key(SECP384R1()), "02")
    token.keep("rsa", generate_rsa(65537, 2048), "03")
    token.refused(*new, token.uri("p384"), match="another curve than P-256 or Ed25519")
    token.refused(*new, token.uri("rsa"), match="is neither a P-256 nor an Ed25519 key")
    token.python(
        "session.generate_keypair(KeyType.EC, store=True, label='mute', id=b'mute', "
        "public_template={Attribute.EC_PARAMS: bytes.fromhex('06082a8648ce3d030107')}, "
        "private_template={Attribute.SIGN: False})"
    )
    token.refused(*new, token.uri("mute"), match="may not sign")
    parameters = "{Attribute.EC_PARAMS: bytes.fromhex('06082a8648ce3d030107')}"
    for name, template in (("open", "{Attribute.EXTRACTABLE: True}"), ("plain", "{Attribute.SENSITIVE: False}")):
        token.python(
            f"session.generate_keypair(KeyType.EC, store=True, label={name!r}, id=b{name!r}, "
            f"public_template={parameters}, private_template={template})"
        )
        token.refused(*new, token.uri(name), match="can be read out of it")
    token.keep("twin", generate_private_key(SECP256R1()), "04")
    token.keep("twin", generate_private_key(SECP256R1()), "05")
    token.refused(*new, token.uri("twin"), match="2 private keys are object='twin'; say which with id=")
    token.device(*new, token.uri("twin").replace("?", ";id=%05?"))
    assert load_public_key(tmp_path / "x" / "signing.pub.pem").kind == "p256"


def test_a_private_key_without_its_public_half_is_refused(token: Token, crate: Path, tmp_path: Path) -> None:
    token.python("session.get_key(ObjectClass.PUBLIC_KEY, label='crate-1').destroy()")
    token.refused("sign", crate, "--body", "{}", "-o", tmp_path / "m", match="has 0 public keys with the id of")


def test_another_key_under_the_same_name_does_not_sign(token: Token, crate: Path, tmp_path: Path) -> None:
    """Whoever can write to the token exchanges the key: the device would sign what nobody verifies."""
    token.python("[key.destroy() for key in session.get_objects({Attribute.LABEL: 'crate-1'})]")
    token.keep("crate-1", generate_private_key(SECP256R1()))
    sign = ("sign", crate, "--body", "{}", "-o", tmp_path / "m")
    token.refused(*sign, match="the one that this device was made with")
    token.python(
        "public = session.get_key(ObjectClass.PUBLIC_KEY, label='crate-1')\n"
        f"point = bytes.fromhex('{point_of(crate).hex()}')\n"
        "template = {Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.KEY_TYPE: KeyType.EC, Attribute.TOKEN: True,\n"
        "    Attribute.LABEL: 'crate-1', Attribute.ID: public[Attribute.ID], Attribute.EC_POINT: point,\n"
        "    Attribute.EC_PARAMS: public[Attribute.EC_PARAMS]}\n"
        "public.destroy()\nsession.create_object(template)\n"
    )
    token.refused(*sign, match="does not verify under the public key")
    assert not (tmp_path / "m").exists()
    with Outbox(crate) as outbox:
        assert outbox.sequence == 0


def point_of(crate: Path) -> bytes:
    """CKA_EC_POINT of the device's public key."""
    return b"\x04\x41" + load_public_key(crate / "signing.pub.pem").spki[-65:]


def test_two_trackers_of_one_token_travel(token: Token, crate: Path, tmp_path: Path) -> None:
    """Two threads, one token under two names: one login, and no two calls at a time."""
    by_serial = token.uri("crate-2").replace("token=Crate", f"serial={token.serial}")
    token.device("new", "crate-2", "-o", tmp_path / "crate-2", "--pkcs11", by_serial, "--generate")
    with running() as broker, broker.reader() as received:
        for folder in (crate, tmp_path / "crate-2"):
            device = load_device_folder(folder)
            device.install(broker.ca.issue(device.csr.read_bytes(), device.device_id), broker.ca.pem)
        token.device(
            "simulate", crate, tmp_path / "crate-2", "--broker", broker.address, "--count", 10, "--interval", 0
        )
        until(lambda: len(received) == 20)
    for message in received:
        device_id = message.topic.split("/")[2]
        datagram = decode_datagram(message.payload)
        load_public_key(tmp_path / device_id / "signing.pub.pem").verify(datagram.signature, datagram.signed_bytes)


def test_without_the_package_it_says_what_to_install(token: Token, crate: Path, tmp_path: Path) -> None:
    """As after `pip install sigillo` without extras; devices with a key in a file need no such package."""
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['pkcs11'] = None\n")
    search = os.pathsep.join([str(tmp_path), *(path for path in sys.path if path)])
    sign = ("sign", crate, "--body", "{}", "-o", tmp_path / "m")
    token.refused(*sign, match="pip install 'sigillo[pkcs11]'", PYTHONPATH=search)
    token.device("new", "crate-3", "-o", tmp_path / "c", PYTHONPATH=search)


@pytest.mark.parametrize("value", ["1", '"pkcs11:token=x"', '"pkcs11:token=a;object=b?module-path=/x&pin-value=4711"'])
def test_settings_with_a_wrong_uri_are_named(token: Token, crate: Path, tmp_path: Path, value: str) -> None:
    settings = crate / "device.toml"
    settings.write_text(re.sub(r"pkcs11 = .*", f"pkcs11 = {value}", settings.read_text()))
    token.refused("sign", crate, "--body", "{}", "-o", tmp_path / "m", match="device.toml: ")
