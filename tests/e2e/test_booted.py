"""Level "booted" on real parts: Mosquitto, a software TPM that holds a real boot, and what IMA would have measured.

The kernel is played by this test: no process can have IMA measure into a TPM of its own. Everything else is as it is
with one: `sigillo up --tpm` keeps boot log and list, its quotes are verified as a stranger would.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sigillo.attestation import software_tpm
from sigillo.attestation.tpm import Tpm
from sigillo.broker.account import REST_USER, find_account
from sigillo.broker.boot_record import boot_lines
from sigillo.broker.folder import OperatorFolder
from sigillo.broker.settings import Settings
from sigillo.core.booted import Booted, before_launches, verify_booted
from sigillo.core.epoch import SignedStatement, decode_statement
from sigillo.core.errors import AttestationError
from sigillo.core.event_log import LoggedEvent, decode_event_log
from sigillo.core.evidence_line import BootLine, ImaLine
from sigillo.core.launch import Closure, Role, check_statement, decode_closure, verify_launch_log
from sigillo.core.platform_trust import PlatformTrust, platform_lines
from sigillo.core.quote import LAUNCH_PCR, Quote

from ..adversary.machine import COMMAND_LINE, Machine, boot, loaded
from ..attestation import rig
from ..vector.accept_ima import Raw
from ..vector.key import filler
from .conftest import CHECKOUT, Operator, Tracker, export, sigillo, trust
from .test_measured import believe, evidences, quotes

INIT = loaded("/usr/lib/systemd/systemd", filler("systemd"))
MESSAGES = 3
DECLARED = "declared: hashes self-reported by the operator"
"""What a verdict says of both launchers, as long as it counts no more."""
LIAR = CHECKOUT / "tests/adversary/launcher.py"


@dataclass
class Appliance:
    """An operator's machine, with a TPM in *tpm*: it boots, loads files, and runs `sigillo up`."""

    operator: Operator
    tpm: Path
    machine: Machine = field(default_factory=Machine)
    starts: int = 0
    trackers: list[Tracker] = field(default_factory=list)

    @property
    def folder(self) -> OperatorFolder:
        return OperatorFolder.at(self.operator.folder)

    @property
    def kernel(self) -> Path:
        """Where this test writes what a kernel has in /sys/kernel/security."""
        return self.operator.folder.parent

    def settle(self) -> None:
        """The operator's settings, with the kernel's files; before the first start."""
        self.operator.folder.mkdir(mode=0o755)
        settings = Settings(
            "localhost",
            "Example Broker",
            listen=self.operator.address,
            on_bad_clock="mark-unsynchronised",
            http="",
            tpm=str(software_tpm.socket_of(self.tpm)),
            quote_interval=1,
            boot_log=str(self.kernel / "binary_bios_measurements"),
            ima_list=str(self.kernel / "binary_runtime_measurements"),
        )
        (self.operator.folder / "sigillo.toml").write_bytes(settings.encode())

    @contextmanager
    def booted(self, files: list[Raw], *more: LoggedEvent) -> Iterator[None]:
        """From a reset of the TPM on: the firmware measures its boot, the kernel what is loaded."""
        self.machine = Machine((*boot(), *more), files)
        (self.kernel / "binary_bios_measurements").write_bytes(self.machine.boot_log_bytes)
        (self.kernel / "binary_runtime_measurements").write_bytes(self.machine.ima_list)
        with rig.started(self.tpm):
            socket, rest = software_tpm.socket_of(self.tpm), find_account(REST_USER)
            tpm = Tpm(rig.link_to(self.tpm))
            for index, digest in self.machine.extensions():
                tpm.extend(index, digest)
            if os.geteuid() == 0 and rest is not None:
                os.chown(socket, rest.uid, rest.gid)
            yield

    def run(self) -> Run:
        """One epoch, from its start to its last quote, in which a tracker publishes."""
        self.operator.start()
        self.starts += 1
        rig.wait_until(lambda: self.operator.log.read_text().count("the archive is connected") == self.starts)
        if not self.trackers:
            self.trackers.append(Tracker("crate-1", self.kernel / "crate-1").enrol(self.operator, "p256"))
        self.trackers[0].publish(self.operator, MESSAGES)
        program = running(self.operator.folder / "conf/mosquitto.conf")
        self.operator.stop()
        signed = decode_statement(self.operator.statements()[-1].read_bytes())
        found = [quote for _, quote in quotes(self.operator.folder / "log", signed)]
        lines = boot_lines(self.folder, evidences(self.operator.folder / "log", signed).values())
        return Run(signed, found, self.folder.launch_log.read_bytes(), self.folder.closures, lines, program)

    def verdict(self) -> str:
        """What `sigillo verify` says of every message so far, to a reader who trusts the operator."""
        evidence = export(self.operator, ["crate-1"], self.kernel / "evidence.jsonl", MESSAGES * self.starts)
        return sigillo("verify", evidence, "--policy", trust(self.operator, self.trackers, self.kernel / "policy.toml"))

    def judged(self, level: str, platforms: Sequence[PlatformTrust], expect: int = 0) -> str:
        """What `sigillo verify` says of the newest messages to a reader who asks for *level* of these platforms."""
        target = self.kernel / "newest.jsonl"
        evidence = export(self.operator, ["crate-1"], target, MESSAGES, "--last", str(MESSAGES))
        policy = trust(self.operator, self.trackers, self.kernel / "policy.toml")
        believe(policy, decode_statement(self.operator.statements()[-1].read_bytes()))
        asked = policy.read_text().replace('level = "launched"', f'level = "{level}"')
        policy.write_text("\n".join([asked, *platform_lines(platforms), ""]))
        return sigillo("verify", evidence, "--policy", policy, expect=expect)


@dataclass
class Run:
    """What a stranger gets of one epoch: the statement, its quotes, what was launched, and the boot's lines.

    *program*: what ran in truth, which no stranger sees.
    """

    signed: SignedStatement
    quotes: list[Quote]
    launch_log: bytes
    closures: Path
    lines: list[BootLine | ImaLine]
    program: Path

    def launched(self, before: Sequence[LoggedEvent] = ()) -> Closure:
        """Level "launched": raises unless the launch says what the statement says."""
        launched = verify_launch_log(self.launch_log, self.quotes[-1].launch_pcr, before)
        assert launched.epoch_id == self.signed.epoch_id
        closure = decode_closure((self.closures / f"{launched.event.closure_hash.hex()}.cbor").read_bytes())
        assert closure.object_hash == launched.event.closure_hash
        check_statement(closure, self.signed.statement)
        return closure

    def booted(self, platform: PlatformTrust) -> list[Booted]:
        """Level "booted", by each quote of the epoch."""
        first, ima = self.lines
        assert isinstance(first, BootLine)
        assert isinstance(ima, ImaLine)
        log = decode_event_log(first.log)
        closure = self.launched(before_launches(log))
        return [verify_booted(log, ima.measurements, quote, closure, platform) for quote in self.quotes]


@pytest.fixture(scope="module")
def tpm(reachable_tmp: Path) -> Path:
    folder = rig.made(reachable_tmp / "appliance")
    folder.chmod(0o711)
    return folder


def files_of(closure: Closure, *but: Role) -> list[Raw]:
    """What IMA measures of it: not the configuration, which a broker reads."""
    roles = set(Role) - {Role.CONFIGURATION, *but}
    return [loaded(member.name, member.digest) for member in closure.members if member.role in roles]


def known(closure: Closure) -> list[bytes]:
    """What a reader knows of the machine: everything but broker and plugin, which the policy names elsewhere."""
    roles = set(Role) - {Role.EXECUTABLE, Role.PLUGIN}
    return [filler("systemd"), *(member.digest for member in closure.members if member.role in roles)]


def test_an_honest_launcher_and_one_that_lies(operator: Operator, tpm: Path) -> None:
    appliance = Appliance(operator, tpm)
    appliance.settle()
    with appliance.booted([INIT]):
        appliance.run()  # makes keys, with code that no later start loads
        closure = appliance.run().launched()

    with appliance.booted([INIT, *files_of(closure)]):
        honest = appliance.run()
        platform = appliance.machine.platform(known(closure))
    assert honest.launched() == closure
    assert honest.program == Path("/usr/sbin/mosquitto")
    assert len(honest.quotes) >= 2
    expected = Booted("appliance 3", COMMAND_LINE, 1 + len(files_of(closure)), ())
    assert honest.booted(platform) == [expected] * len(honest.quotes)
    assert DECLARED in appliance.verdict()
    said = appliance.judged("booted", [platform])
    assert "Level booted (TPM, boot log and IMA: nothing else that the IMA policy measures was loaded)" in said

    foreign, digest = foreign_broker(appliance.kernel)
    kept = appliance.folder.closures / f"{closure.object_hash.hex()}.cbor"
    operator.program = (sys.executable, str(LIAR), str(foreign), str(kept))
    for files in (files_of(closure, Role.EXECUTABLE), files_of(closure)):  # the honest one is loaded too, for the list
        with appliance.booted([INIT, *files, loaded(str(foreign), digest)]):
            lied = appliance.run()
        assert lied.launched() == closure, "level launched does not see it"
        assert lied.program == foreign
        assert DECLARED in appliance.verdict()
        with pytest.raises(AttestationError) as caught:
            lied.booted(platform)
        said = f"{foreign}, SHA-256 {digest.hex()}, was loaded, and is neither part of the launch nor of the platform"
        assert caught.value.reason == said
        passed = appliance.judged("launched", [])
        assert "Level launched (the operator's own launcher reported these hashes" in passed
        assert "Limit: a launcher that lies reaches the level launched" in passed
        assert said in appliance.judged("booted", [platform], expect=1).splitlines()[0]


def test_a_boot_that_measured_something_into_the_launches_pcr(operator: Operator, tpm: Path) -> None:
    """As systemd-stub does with extensions of the system: the launch log begins with it."""
    extension = LoggedEvent(LAUNCH_PCR, 0xD, filler("an extension of the system"), b"sysext")
    appliance = Appliance(operator, tpm)
    appliance.settle()
    with appliance.booted([INIT], extension):
        run = appliance.run()
    run.launched([extension])
    with pytest.raises(AttestationError, match="somebody else"):
        run.launched()


def test_a_machine_without_ima_is_launched_and_no_more(operator: Operator, tpm: Path) -> None:
    """Nothing of it is kept, and that is said once; the launch is as good as before."""
    appliance = Appliance(operator, tpm)
    appliance.settle()
    with appliance.booted([INIT]):
        for name in ("binary_bios_measurements", "binary_runtime_measurements"):
            (appliance.kernel / name).unlink()
        run = appliance.run()
    run.launched()
    assert run.lines == []
    said = operator.log.read_text()
    assert said.count("No such file or directory. What else this machine loads is not kept") == 2


def running(configuration: Path) -> Path:
    """The program that runs with this configuration."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if (process / "cmdline").read_bytes().endswith(b"\0-c\0%b\0" % os.fsencode(configuration)):
                found.add((process / "exe").resolve())
    (program,) = found
    return program


def foreign_broker(folder: Path) -> tuple[Path, bytes]:
    """The same Mosquitto with a byte more, and its SHA-256."""
    path = folder / "mosquitto"
    shutil.copy("/usr/sbin/mosquitto", path)
    with path.open("ab") as file:
        file.write(b"\0")
    path.chmod(0o755)
    return path, hashlib.sha256(path.read_bytes()).digest()
