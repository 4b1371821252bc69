"""Attack 12: measure one thing, run another, by one line of the configuration. Its text is evidence too."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from sigillo.broker.account import own_account
from sigillo.broker.configuration import Configuration, read_configuration
from sigillo.broker.derivation import derive_configuration
from sigillo.broker.folder import OperatorFolder
from sigillo.core.launch import Closure, Member, Role
from sigillo.core.rule import DEFAULT_RULES, RULES, appraise_configuration

from ..broker.operator import SETTINGS, installed
from ..vector.key import filler

Files = dict[str, str | None]
NEEDED = ("conf/mosquitto.conf", "conf/acl", "derived/mosquitto.conf", "derived/acl")


@pytest.fixture
def folder(tmp_path: Path) -> OperatorFolder:
    return installed(tmp_path)


def closure(configuration: Configuration) -> Closure:
    """What a launch with this configuration measures."""
    programs = [Member(role, f"/{role.name}", filler(role.name)) for role in (Role.EXECUTABLE, Role.PLUGIN)]
    return Closure.of([*programs, *(Member(Role.CONFIGURATION, *named) for named in configuration.digests.items())])


def shown(measured: Closure, texts: Mapping[str, str]) -> Files:
    """The files as a verifier has them: a text counts under a name of the closure, and with the hash there alone."""
    files: Files = {member.name: None for member in measured.members if member.role is Role.CONFIGURATION}
    digests = {member.name: member.digest for member in measured.members}
    for name, text in texts.items():
        if digests.get(name) == hashlib.sha256(text.encode()).digest():
            files[name] = text
    return files


def texts(folder: OperatorFolder) -> dict[str, str]:
    return {name: (folder.path / name).read_text() for name in NEEDED if (folder.path / name).exists()}


def command(configuration: Configuration) -> tuple[str, ...]:
    """As broker/launcher.py starts it."""
    return ("/usr/sbin/mosquitto", "-c", str(configuration.file))


def change(folder: OperatorFolder, old: str, new: str) -> None:
    text = folder.broker_configuration.read_text()
    assert old in text
    folder.broker_configuration.write_text(text.replace(old, new))


def broken(folder: OperatorFolder, rules: tuple[str, ...] = DEFAULT_RULES) -> set[str]:
    """The rules that do not hold for what is in the folder, honestly measured and shown."""
    configuration = read_configuration(folder, SETTINGS.listen)
    files = shown(closure(configuration), texts(folder))
    return {violation.rule for violation in appraise_configuration(files, command(configuration), rules)}


def test_what_up_writes_holds_every_rule(folder: OperatorFolder) -> None:
    assert broken(folder, RULES) == set()


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("allow_anonymous false", "allow_anonymous true", "anonymous-off"),
        ("allow_anonymous false", "allow_anonymous false\nlistener 1883", "tls"),
        ("acl_file conf/acl\n", "", "acl"),
        ("max_packet_size", "plugin {plugin}\nmax_packet_size", "no-other-plugin"),
        ("max_packet_size", "enable_control_api true\nmax_packet_size", "no-dynamic-security"),
        ("check_retain_source true", "check_retain_source false", "retained-checked"),
        ("max_packet_size", "user root\nmax_packet_size", "user"),
        ("log_dest stderr", "log_dest stderr\ncapath conf/tls", "measured-files"),
    ],
)
def test_one_line_changed_and_honestly_measured(folder: OperatorFolder, old: str, new: str, rule: str) -> None:
    """The launcher takes it, and its hash is as good as any: the rule is what tells."""
    other = folder.path / "other.so"
    other.write_bytes(b"another plugin")
    change(folder, old, new.format(plugin=other))
    assert rule in broken(folder)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("allow_anonymous false", "allow_anonymous true"),
        ("allow_anonymous false", "allow_anonymous  false"),
        ("log_type error", "log_type error\n# a word"),
    ],
)
def test_the_honest_text_for_another_file(folder: OperatorFolder, old: str, new: str) -> None:
    """The text shown is not that of what was measured, by however little: it is not shown at all."""
    honest = texts(folder)
    change(folder, old, new)
    configuration = read_configuration(folder, SETTINGS.listen)
    found = appraise_configuration(shown(closure(configuration), honest), command(configuration), DEFAULT_RULES)
    assert [violation.rule for violation in found] == list(DEFAULT_RULES)
    assert all("not shown" in violation.reason for violation in found)


def test_the_text_left_out(folder: OperatorFolder) -> None:
    configuration = read_configuration(folder, SETTINGS.listen)
    for left_out in ("conf/mosquitto.conf", "conf/acl"):
        given = {name: text for name, text in texts(folder).items() if name != left_out}
        files = shown(closure(configuration), given)
        found = appraise_configuration(files, command(configuration), DEFAULT_RULES)
        assert found
        assert all(f"{left_out}: not shown" in violation.reason for violation in found)


def test_the_honest_text_under_a_name_that_the_broker_does_not_read(folder: OperatorFolder) -> None:
    """An honest `conf/` is measured and shown; the broker was started with `derived/`."""
    configuration = read_configuration(folder, SETTINGS.listen)
    files = shown(closure(configuration), texts(folder)) | {"derived/mosquitto.conf": None}
    derived = ("/usr/sbin/mosquitto", "-c", str(folder.derived_configuration))
    assert len(appraise_configuration(files, derived, DEFAULT_RULES)) == len(DEFAULT_RULES)


def test_an_option_of_the_command_beside_an_honest_file(folder: OperatorFolder) -> None:
    """`-p 1883` opens one more port than the file says."""
    configuration = read_configuration(folder, SETTINGS.listen)
    files = shown(closure(configuration), texts(folder))
    for words in ((*command(configuration), "-p", "1883"), (*command(configuration), "-c", "/tmp/other.conf")):
        found = appraise_configuration(files, words, DEFAULT_RULES)
        assert [violation.rule for violation in found] == list(DEFAULT_RULES)


@pytest.mark.parametrize(
    ("line", "breaks"),
    [
        ("check_retain_source true", set()),
        ("allow_anonymous true", {"anonymous-off", "retained-checked"}),
        ("listener 1884", {"tls", "retained-checked"}),
    ],
)
def test_an_own_configuration_by_what_the_broker_reads(tmp_path: Path, line: str, breaks: set[str]) -> None:
    """`--conf`: what is measured, shown and appraised is the derived file, with the operator's includes in it."""
    etc = tmp_path / "etc"
    (etc / "conf.d").mkdir(parents=True)
    settings = replace(SETTINGS, conf=str(etc / "mosquitto.conf"), listen="127.0.0.1:18883")
    folder = installed(tmp_path, settings)
    (etc / "acl").write_text("user a\ntopic read #\n")
    (etc / "passwd").write_text("a:b\n")
    own = "include_dir conf.d\nlistener 1883 127.0.0.1\nacl_file acl\npassword_file passwd\n"
    (etc / "mosquitto.conf").write_text(own)
    (etc / "conf.d/more.conf").write_text(f"{line}\n")
    configuration = derive_configuration(folder, settings, own_account(), etc)
    files = shown(closure(configuration), texts(folder))
    found = appraise_configuration(files, command(configuration), DEFAULT_RULES)
    assert {violation.rule for violation in found} == breaks
