"""Stock OpenSSL accepts what is exported, and refuses it altered."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from sigillo.core.line import split_lines
from sigillo.report.exhibit import Exhibit, exhibits

from ..adversary.broker import evidence_file
from ..adversary.maker import Maker
from ..adversary.story import Story, certified, honest


def openssl(exhibit: Exhibit, folder: Path, **changed: bytes) -> bool:
    for suffix, content in exhibit.files.items():
        (folder / f"{exhibit.name}{suffix}").write_bytes(changed.get(suffix[1:], content))
    done = subprocess.run(exhibit.command.split(), cwd=folder, capture_output=True, timeout=30)
    return done.returncode == 0


def test_openssl_verifies_every_exhibit_and_refuses_it_altered(tmp_path: Path) -> None:
    story = honest()
    made = list(exhibits(split_lines([story.broker.file()]), story.policy))
    # three for each epoch, two for each message
    assert len(made) == 2 * 3 + 9 * 2
    for exhibit in made:
        assert openssl(exhibit, tmp_path), exhibit.name
        for suffix in ("tbs", "sig"):
            altered = bytearray(exhibit.files[f".{suffix}"])
            altered[-1] ^= 1
            assert not openssl(exhibit, tmp_path, **{suffix: bytes(altered)}), exhibit.name


def test_openssl_verifies_certificates_at_the_time_of_the_mark(tmp_path: Path) -> None:
    story = certified()
    made = {exhibit.name: exhibit for exhibit in exhibits(split_lines([evidence_file(story.lines)]), story.policy)}
    assert [name for name in made if name.endswith("-certificate")] == [f"00000{n}-certificate" for n in (2, 3, 4)]
    for exhibit in made.values():
        for suffix, content in exhibit.files.items():
            (tmp_path / f"{exhibit.name}{suffix}").write_bytes(content)
    commands = "\n".join(exhibit.command for exhibit in made.values())
    verified = [line for line in commands.splitlines() if line.startswith("openssl verify -attime 17950000")]
    assert len(verified) == 2
    for command in commands.splitlines():
        if command.startswith("openssl "):
            assert subprocess.run(command.split(), cwd=tmp_path, capture_output=True).returncode == 0, command
    for command in verified:
        late = command.replace("-attime 17950000", "-attime 18950000")
        assert subprocess.run(late.split(), cwd=tmp_path, capture_output=True).returncode != 0
    other = Maker("Other").certificate.public_bytes(Encoding.PEM)
    for name in ("000002-certificate.cert.pem", "000002-certificate.ca.pem", "000002-certificate.untrusted.pem"):
        (tmp_path / name).write_bytes(other)
        assert subprocess.run(verified[0].split(), cwd=tmp_path, capture_output=True).returncode != 0, name
        (tmp_path / name).write_bytes(made["000002-certificate"].files[name.removeprefix("000002-certificate")])


def test_a_message_without_its_certificate_has_no_key_to_export() -> None:
    story = certified()
    made = {exhibit.name: exhibit for exhibit in exhibits(split_lines([story.broker.file()]), story.policy)}
    assert made["000003-device"].command.startswith("# 000003-device: the key is not in the file")
    assert ".pub.pem" in made["000005-device"].files


def test_without_a_policy_only_the_keys_of_the_file_are_there(tmp_path: Path) -> None:
    for exhibit in exhibits(split_lines([honest().broker.file()]), None):
        own = exhibit.name.endswith(("-statement", "-end", "-mark"))
        assert (".pub.pem" in exhibit.files) == own
        assert exhibit.command.startswith("openssl " if own else "# ")
        assert not own or openssl(exhibit, tmp_path)


def test_a_payload_that_nobody_signed_is_named() -> None:
    story = Story()
    story.broker.publish(story.first, payload=b"21.5")
    last = list(exhibits(split_lines([story.broker.file()]), story.policy))[-1]
    assert last.files == {}
    assert last.command == "# 000003-device: the payload is no signed device message"


@pytest.mark.parametrize("kind", ["p256", "ed25519"])
def test_the_command_names_a_digest_for_p256_only(kind: str) -> None:
    story = honest()
    device = story.first if kind == "p256" else story.second
    policy = story.broker.policy(device)
    commands = [
        exhibit.command
        for exhibit in exhibits(split_lines([story.broker.file()]), policy)
        if exhibit.name.endswith("-device")
    ]
    known = [command for command in commands if command.startswith("openssl")]
    assert len(known) == 3
    assert all(("-digest sha256" in command) == (kind == "p256") for command in known)
