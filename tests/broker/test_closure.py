"""The closure names everything that a running broker has mapped, and every changed file changes it."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sigillo.broker.closure import interpreter, loaded_code, mapped, measure_closure, name_services, needed
from sigillo.broker.configuration import Configuration, read_configuration
from sigillo.broker.error import BrokerError
from sigillo.broker.folder import OperatorFolder
from sigillo.core.launch import Closure, Role, check_statement, decode_closure, encode_closure

from ..plugin.launcher import MOSQUITTO, PLUGIN, broker
from ..vector.sample import FIRST_FIELDS
from .operator import SETTINGS, installed

EXECUTABLE = Path(MOSQUITTO)


@pytest.fixture(scope="module", autouse=True)
def plugin() -> Iterator[None]:
    if not EXECUTABLE.exists():
        pytest.skip(f"not installed: {MOSQUITTO}")
    if not PLUGIN.exists():
        pytest.skip(f"not built: {PLUGIN.name}")
    yield


@pytest.fixture
def folder(tmp_path: Path) -> OperatorFolder:
    made = installed(tmp_path)
    shutil.copy(PLUGIN, made.plugin)
    return made


def configuration(folder: OperatorFolder) -> Configuration:
    return read_configuration(folder, SETTINGS.listen)


def measured(folder: OperatorFolder) -> Closure:
    return measure_closure(EXECUTABLE, folder.plugin, configuration(folder))


def names(closure: Closure, role: Role) -> set[str]:
    return {member.name for member in closure.members if member.role is role}


def test_the_statement_and_the_closure_say_the_same(folder: OperatorFolder) -> None:
    closure = measured(folder)
    assert decode_closure(encode_closure(closure)) == closure
    statement = dataclasses.replace(
        FIRST_FIELDS,
        executable_hash=hashlib.sha256(EXECUTABLE.read_bytes()).digest(),
        plugin_hash=hashlib.sha256(PLUGIN.read_bytes()).digest(),
        configuration_hash=configuration(folder).hash,
    )
    check_statement(closure, statement)
    assert "conf/mosquitto.conf" in names(closure, Role.CONFIGURATION)


def test_everything_that_a_running_broker_has_mapped_is_in_it(folder: OperatorFolder) -> None:
    """A broker after its handshake, at work: nothing was loaded that the loader did not list."""
    closure = measured(folder)
    known = set().union(*(names(closure, role) for role in Role if role is not Role.CODE))
    with broker() as running:
        running.start()
        files = {str(path.resolve()) for path in mapped(running.process.pid)}
    spool = {name for name in files if name.startswith(str(running.folder))}
    plugin = {str(PLUGIN.resolve()), *(name for name in files if name.endswith("/sigillo.so"))}
    assert files - spool - plugin <= known
    assert str(EXECUTABLE.resolve()) in files


def test_our_own_code_is_in_it() -> None:
    code = {str(path) for path in loaded_code()}
    assert str(Path(sys.executable).resolve()) in code
    assert str(Path(dataclasses.__file__).resolve()) in code
    assert {name for name in code if name.endswith("sigillo/core/launch.py")}
    assert {name for name in code if name.endswith(".pyc")}, "what runs is the compiled form"
    assert {name for name in code if "libc.so" in name or "ld-" in name}


@pytest.mark.parametrize("what", ["plugin", "conf/acl", "conf/mosquitto.conf"])
def test_one_changed_byte_is_another_closure(folder: OperatorFolder, what: str) -> None:
    before = measured(folder)
    path = folder.plugin if what == "plugin" else folder.path / what
    path.write_bytes(path.read_bytes() + b"\n")
    assert measured(folder).object_hash != before.object_hash


def test_a_library_that_was_replaced_is_another_closure(tmp_path: Path, folder: OperatorFolder) -> None:
    """A library of a plugin: listed, hashed, and another one after it was changed."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("not installed: gcc")
    (tmp_path / "lib.c").write_text("int answer(void) { return 42; }\n")
    (tmp_path / "plugin.c").write_text("int answer(void);\nint ask(void) { return answer(); }\n")
    library, program = tmp_path / "libanswer.so", tmp_path / "plugin.so"
    subprocess.run([compiler, "-shared", "-fPIC", tmp_path / "lib.c", "-o", library], check=True)
    link = ["-L", tmp_path, "-lanswer", f"-Wl,-rpath,{tmp_path}"]
    subprocess.run([compiler, "-shared", "-fPIC", tmp_path / "plugin.c", "-o", program, *link], check=True)
    before = measure_closure(EXECUTABLE, program, configuration(folder))
    assert str(library) in names(before, Role.LIBRARY)
    library.write_bytes(library.read_bytes() + b"\0")
    assert measure_closure(EXECUTABLE, program, configuration(folder)).object_hash != before.object_hash
    library.unlink()
    with pytest.raises(BrokerError, match=r"plugin\.so: what it needs"):
        measure_closure(EXECUTABLE, program, configuration(folder))


def test_what_cannot_be_listed_is_refused(tmp_path: Path, folder: OperatorFolder) -> None:
    loader = interpreter(EXECUTABLE)
    assert loader.name.startswith("ld")
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n")
    for bad in (script, tmp_path / "none", folder.path):
        with pytest.raises(BrokerError, match=bad.name):
            interpreter(bad)
    with pytest.raises(BrokerError, match="linked statically"):
        interpreter(PLUGIN)  # a library names no loader
    with pytest.raises(BrokerError, match="script"):
        needed(loader, script)
    with pytest.raises(BrokerError, match="cannot list"):
        needed(tmp_path / "no loader", EXECUTABLE)


def test_name_services_are_those_of_the_systems_choice(tmp_path: Path) -> None:
    for name in ("systemd", "sss", "unused"):
        (tmp_path / f"libnss_{name}.so.2").touch()
    libc, switch = tmp_path / "libc.so.6", tmp_path / "nsswitch.conf"
    switch.write_text("# passwd: unused\npasswd: files systemd\nhosts: files [NOTFOUND=return] sss # unused\n")
    assert {path.name for path in name_services([libc], switch)} == {"libnss_systemd.so.2", "libnss_sss.so.2"}
    assert name_services([tmp_path / "libm.so.6"], switch) == set()
    assert name_services([libc], tmp_path / "none") == set()


@pytest.mark.parametrize("cut", [0, 4, 20, 63, 64, 100])
def test_a_cut_executable_is_refused(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "cut"
    path.write_bytes(EXECUTABLE.read_bytes()[:cut])
    with pytest.raises(BrokerError, match="cut"):
        interpreter(path)
