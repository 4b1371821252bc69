"""Attack 12 (measure one thing, run another; RATA CCS'21), and 34: a launcher measures the honest closure into PCR 13,
and starts another broker, or lets somebody else sign under its epoch. Level "launched" sees neither, "booted" both.

On a real TPM, with a real Mosquitto that has a byte more: `tests/e2e/test_booted.py`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import pytest

from sigillo.core.attestation import verify_periodic
from sigillo.core.attestations import LAUNCHER_LIES
from sigillo.core.booted import find_platform, verify_booted
from sigillo.core.epoch import configuration_hash
from sigillo.core.errors import AttestationError
from sigillo.core.event_log import LoggedEvent, encode_event_log
from sigillo.core.launch import (
    Closure,
    EpochEvent,
    LaunchEvent,
    Member,
    Role,
    check_statement,
    encode_launch_event,
    verify_launch_log,
)
from sigillo.core.mark import Checkpoint
from sigillo.core.platform_trust import PlatformTrust
from sigillo.core.quote import LAUNCH_PCR, Quote, Subject
from sigillo.core.verdict import LEVEL_SENTENCE
from sigillo.report.text import render
from tests.vector.sample_tpm import PROCESS

from ..adversary.booted import booted as whole_boot
from ..adversary.booted import lied
from ..adversary.machine import COMMAND_LINE, OPERATOR, Machine, boot, by_linux, loaded
from ..vector.accept_ima import Raw
from ..vector.key import filler
from ..vector.sample import EPOCH_ID, FIRST_FIELDS
from ..vector.sample_tpm import CLOSURE, MOSQUITTO

SYSTEMD = loaded("/usr/lib/systemd/systemd", filler("systemd"))
ROGUE = "/opt/mosquitto"
FOREIGN = filler("mosquitto with a byte more")
STATEMENT = dataclasses.replace(
    FIRST_FIELDS,
    executable_hash=CLOSURE.digest_of(Role.EXECUTABLE),
    plugin_hash=CLOSURE.digest_of(Role.PLUGIN),
    configuration_hash=configuration_hash(
        {member.name: member.digest for member in CLOSURE.members if member.role is Role.CONFIGURATION}
    ),
)


def known() -> list[bytes]:
    """What the reader knows of the machine beside broker and plugin."""
    others = (member.digest for member in CLOSURE.members if member.role not in (Role.EXECUTABLE, Role.PLUGIN))
    return [filler("systemd"), *others]


PLATFORM = Machine().platform(known())
"""Of the reader's policy: made once, from an honest boot."""


def honest_files(*but: Role) -> list[Raw]:
    return [loaded(member.name, member.digest) for member in CLOSURE.members if member.role not in but]


@dataclass
class Launcher:
    """A launcher on a machine, which says that it starts *closure*, and starts what *files* IMA sees."""

    files: list[Raw]
    closure: Closure = CLOSURE
    events: tuple[LoggedEvent, ...] = field(default_factory=boot)

    @property
    def machine(self) -> Machine:
        return Machine(self.events, [SYSTEMD, *self.files])

    def launches(self) -> tuple[LoggedEvent, ...]:
        launch = LaunchEvent(1, self.closure.object_hash, (MOSQUITTO, "-c", "/srv/broker/conf/mosquitto.conf"))
        return encode_launch_event(launch), encode_launch_event(EpochEvent(EPOCH_ID, PROCESS))

    def quote(self) -> Quote:
        tpm = self.machine.tpm()
        tpm.extend(LAUNCH_PCR, [event.digest for event in self.launches()])
        return verify_periodic(tpm.quote(Subject(EPOCH_ID, Checkpoint())), tpm.key.name)


def launched(launcher: Launcher) -> None:
    """Level "launched", as a verifier checks it."""
    found = verify_launch_log(encode_event_log(launcher.launches()), launcher.quote().launch_pcr)
    assert (found.epoch_id, found.event.closure_hash) == (EPOCH_ID, launcher.closure.object_hash)
    check_statement(launcher.closure, STATEMENT)


def booted(launcher: Launcher, platform: PlatformTrust = PLATFORM, ima_list: bytes | None = None) -> None:
    """Level "booted"."""
    machine, quote = launcher.machine, launcher.quote()
    assert find_platform([platform], OPERATOR, quote) == platform
    verify_booted(machine.boot_log, ima_list or machine.ima_list, quote, launcher.closure, platform)


def seen_only_when_booted(launcher: Launcher, says: str, ima_list: bytes | None = None) -> None:
    launched(launcher)
    with pytest.raises(AttestationError, match=says):
        booted(launcher, ima_list=ima_list)


def test_an_honest_launcher() -> None:
    launched(Launcher(honest_files()))
    booted(Launcher(honest_files()))


def test_another_broker_is_named() -> None:
    files = [*honest_files(Role.EXECUTABLE), loaded(ROGUE, FOREIGN)]
    seen_only_when_booted(Launcher(files), f"^{ROGUE}, SHA-256 {FOREIGN.hex()}, was loaded, and is neither")


def test_under_the_honest_ones_path_it_is_named_too() -> None:
    files = [*honest_files(Role.EXECUTABLE), loaded(MOSQUITTO, FOREIGN)]
    seen_only_when_booted(Launcher(files), f"^{MOSQUITTO}, SHA-256 {FOREIGN.hex()}")


def test_loading_the_honest_one_as_well_hides_nothing() -> None:
    seen_only_when_booted(Launcher([*honest_files(), loaded(ROGUE, FOREIGN)]), f"^{ROGUE}, ")


@pytest.mark.parametrize("role", [Role.LIBRARY, Role.CODE, Role.CONFIGURATION])
def test_a_liar_who_lists_its_broker_in_the_closure(role: Role) -> None:
    """It is all the launcher's word: so it vouches for no file."""
    closure = Closure.of([*CLOSURE.members, Member(role, ROGUE, FOREIGN)])
    launcher = Launcher([*honest_files(), loaded(ROGUE, FOREIGN)], closure)
    if role is not Role.CONFIGURATION:
        launched(launcher)  # else the configuration is another, which is compared
    with pytest.raises(AttestationError, match=f"^{ROGUE}, .* by the launcher's word alone"):
        booted(launcher)


def test_starting_nothing_is_not_having_started_the_honest_one() -> None:
    seen_only_when_booted(Launcher([]), f"the launch says that {MOSQUITTO} was started; IMA never saw it")


def test_the_measurement_left_out_of_the_list() -> None:
    files = [*honest_files(), loaded(ROGUE, FOREIGN)]
    for told in (honest_files(), [*honest_files(), loaded(ROGUE, CLOSURE.digest_of(Role.EXECUTABLE))]):
        ima_list = Launcher(told).machine.ima_list
        seen_only_when_booted(Launcher(files), "does not lead to the quoted value of PCR 10", ima_list)


def test_a_kernel_without_ima_whose_root_writes_the_honest_list_into_the_pcr() -> None:
    """PCR 10 says what it should, and is nobody's measurement: the boot says that the kernel made none."""
    launcher = Launcher(honest_files(), events=boot("console=ttyS0 quiet"))
    launched(launcher)
    with pytest.raises(AttestationError, match=r"^PCR 9 is .*booted something else"):
        find_platform([PLATFORM], OPERATOR, launcher.quote())
    lax = launcher.machine.platform(known())  # a reader who has copied the values of that boot
    with pytest.raises(AttestationError, match="none of the command lines"):
        booted(launcher, lax)


def test_the_honest_command_line_measured_after_the_fact() -> None:
    """Root extends what the honest boot would have: PCR 9 has one event too many, and no value of the policy."""
    launcher = Launcher(honest_files(), events=(*boot("quiet"), by_linux(COMMAND_LINE)))
    launched(launcher)
    with pytest.raises(AttestationError, match=r"^PCR 9 is "):
        find_platform([PLATFORM], OPERATOR, launcher.quote())


def test_a_kernel_of_their_own_is_another_boot() -> None:
    launcher = Launcher(
        honest_files(), events=(*boot(), LoggedEvent(4, 0x8000_0003, filler("a kernel of theirs"), b""))
    )
    launched(launcher)
    with pytest.raises(AttestationError, match=r"^PCR 4 is "):
        find_platform([PLATFORM], OPERATOR, launcher.quote())


def test_the_log_and_list_of_an_honest_machine_are_not_this_machines() -> None:
    """The launch is here, the honest boot is elsewhere."""
    here, elsewhere = Launcher([loaded(ROGUE, FOREIGN)], events=boot("quiet")), Launcher(honest_files()).machine
    with pytest.raises(AttestationError, match="does not lead to the quoted value of PCR 9"):
        verify_booted(elsewhere.boot_log, elsewhere.ima_list, here.quote(), CLOSURE, PLATFORM)


def test_a_rogue_epoch_key_needs_a_program_that_uses_it() -> None:
    """Attack 34: the honest broker runs; a tool beside it signs marks under a key that the launcher countersigned."""
    tool = loaded("/opt/signer", filler("signs marks for whoever asks"))
    seen_only_when_booted(Launcher([*honest_files(), tool]), "^/opt/signer, ")


def test_what_a_known_interpreter_reads_is_not_seen_here() -> None:
    """What "booted" does not show, and says so: the same tool as a script, where the IMA policy measures no scripts."""
    python = next(member for member in CLOSURE.members if member.role is Role.CODE)
    booted(Launcher([*honest_files(), loaded(python.name, python.digest)]))


def test_the_verdict_says_so_in_words() -> None:
    """The same file: verified for who asks for "launched", and refused, by name, for who asks for "booted"."""
    story = lied()
    verdict = story.judged(story.asks("launched", knows_platform=False))
    assert verdict.verified, verdict.reason
    assert verdict.level == "launched"
    assert "not a lying operator with root" in LEVEL_SENTENCE[verdict.level]
    assert LAUNCHER_LIES in verdict.limits
    said = render(verdict)
    assert "Limit: a launcher that lies reaches the level launched" in said
    verdict = story.judged(story.asks("booted"))
    assert not verdict.verified
    assert verdict.level == "launched"
    assert "step 24, boot: " in verdict.reason
    assert "/opt/mosquitto" in verdict.reason
    assert "was loaded, and is neither part of the launch nor of the platform" in verdict.reason
    honest = whole_boot()
    assert honest.judged(honest.asks("booted")).verified
