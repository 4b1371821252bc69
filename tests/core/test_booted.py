"""Level "booted": a real boot and what IMA saw, against a policy; and every way in which that is not enough."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from types import MappingProxyType

import pytest

from sigillo.core.booted import Booted, explain, find_platform, verify_booted
from sigillo.core.errors import AttestationError, DecodeError
from sigillo.core.event_log import EventType, LoggedEvent, decode_event_log, encode_event_log
from sigillo.core.ima import decode_measurements
from sigillo.core.launch import Role, verify_launch_log
from sigillo.core.platform_trust import REQUIRED, PlatformTrust
from sigillo.core.quote import LAUNCH_PCR

from ..adversary.machine import (
    COMMAND_LINE,
    OPERATOR,
    Machine,
    boot,
    by_grub,
    by_linux,
    loaded,
    recorded_boot,
)
from ..vector.accept_ima import VIOLATION, Raw, recorded, recorded_pcrs
from ..vector.accept_tpm import hashed
from ..vector.key import filler
from ..vector.sample_tpm import CLOSURE, LAUNCHES, MOSQUITTO

BUSYBOX = filler("busybox")
OTHERS = [member.digest for member in CLOSURE.members if member.role not in (Role.EXECUTABLE, Role.PLUGIN)]
KNOWN = [BUSYBOX, *OTHERS]
FOREIGN = filler("a broker of the operator's own")


def machine() -> Machine:
    """Boots, and loads busybox and everything of the closure."""
    return Machine(files=[loaded("/bin/busybox", BUSYBOX), *(loaded(m.name, m.digest) for m in CLOSURE.members)])


def verified(found: Machine, platform: PlatformTrust | None = None) -> Booted:
    return verify_booted(found.boot_log, found.ima_list, found.quote(), CLOSURE, platform or found.platform(KNOWN))


def refused(found: Machine, says: str, platform: PlatformTrust | None = None) -> str:
    with pytest.raises(AttestationError, match=says) as caught:
        verified(found, platform)
    return caught.value.reason


def test_a_known_boot_that_loaded_what_was_launched() -> None:
    assert verified(machine()) == Booted("appliance 3", COMMAND_LINE, 1 + len(CLOSURE.members), ())


def test_a_list_that_went_on_after_the_quote_counts_up_to_it() -> None:
    found = machine()
    quote, platform = found.quote(), found.platform(KNOWN)
    found.files.append(loaded("/tmp/later", FOREIGN))
    assert verify_booted(found.boot_log, found.ima_list, quote, CLOSURE, platform).files == 1 + len(CLOSURE.members)
    refused(found, "/tmp/later", platform)


def test_the_real_boot_had_no_policy_on_its_command_line_and_is_refused() -> None:
    """Its initrd loaded one. Nothing in the log says so, and a policy cannot accept that command line."""
    real = Machine(recorded_boot(), machine().files)
    refused(real, "none of the command lines", real.platform(KNOWN))


def test_the_real_list_on_the_real_boot_log() -> None:
    """Everything but the command line is the virtual machine's own; PCR 9 and what hangs on it are made to fit."""
    files = [b"/bin/busybox", b"/usr/sbin/broker", b"/etc/broker.conf"]
    real = {m.path_bytes: m.digest for m in decode_measurements(recorded()["list_1"])}
    closure = dataclasses.replace(
        CLOSURE,
        members=tuple(
            dataclasses.replace(m, digest=real[b"/usr/sbin/broker"]) if m.role is Role.EXECUTABLE else m
            for m in CLOSURE.members
            if m.role in (Role.EXECUTABLE, Role.PLUGIN)
        ),
    )
    found = Machine(files=[*(loaded(path.decode(), real[path]) for path in files), loaded("/p", filler("plugin"))])
    platform = found.platform([real[b"/bin/busybox"], real[b"/etc/broker.conf"]])
    booted = verify_booted(found.boot_log, found.ima_list, found.quote(), closure, platform)
    assert booted.files == 4
    changed = dataclasses.replace(found.quote(), pcrs=recorded_pcrs(1))
    with pytest.raises(AttestationError, match="does not lead to the quoted value of PCR 9"):
        verify_booted(found.boot_log, found.ima_list, changed, closure, platform)


@pytest.mark.parametrize("index", range(10))
def test_each_pcr_of_the_boot_has_to_be_what_the_log_leads_to(index: int) -> None:
    found = machine()
    quote, platform = found.quote(), found.platform(KNOWN)
    pcrs = (*quote.pcrs[:index], filler("another"), *quote.pcrs[index + 1 :])
    with pytest.raises(AttestationError, match=f"quoted value of PCR {index}"):
        verify_booted(found.boot_log, found.ima_list, dataclasses.replace(quote, pcrs=pcrs), CLOSURE, platform)


@pytest.mark.parametrize("index", REQUIRED)
def test_another_boot_than_the_policys_is_refused_by_pcr(index: int) -> None:
    found = machine()
    platform = found.platform(KNOWN)
    found.events = (*found.events, LoggedEvent(index, 0x8000_0003, filler("a kernel of theirs"), b""))
    reason = refused(found, f'^PCR {index} is [0-9a-f]{{64}}, which platform "appliance 3" does not have', platform)
    assert "booted something else" in reason


def test_settings_count_only_where_the_policy_names_them() -> None:
    found = machine()
    platform = found.platform(KNOWN)
    pinned = dataclasses.replace(platform, boot=MappingProxyType({**platform.boot, 5: (found.quote().pcrs[5],)}))
    found.events = (*found.events, hashed(5, EventType.EFI_ACTION, b"another partition table"))
    verified(found, platform)
    refused(found, "^PCR 5 is", pinned)


def test_grubs_word_for_the_command_line_counts_too() -> None:
    line = "/vmlinuz-6.1 root=/dev/sda1 ro ima_policy=tcb"
    found = Machine((*boot("quiet"), by_grub(line)), machine().files)
    assert verified(found, found.platform(KNOWN, command_lines=(line,))).command_line == line
    refused(found, "none of the command lines", found.platform(KNOWN))


def without_command_line() -> tuple[LoggedEvent, ...]:
    return tuple(event for event in boot() if event != by_linux(COMMAND_LINE))


@pytest.mark.parametrize(
    "event",
    [
        dataclasses.replace(by_linux("quiet"), data=by_linux(COMMAND_LINE).data),
        dataclasses.replace(by_grub("quiet"), data=f"kernel_cmdline: {COMMAND_LINE}".encode()),
        dataclasses.replace(by_linux(COMMAND_LINE), pcr=8),
        dataclasses.replace(by_grub(COMMAND_LINE), pcr=9),
        dataclasses.replace(by_linux(COMMAND_LINE), pcr=11),
        dataclasses.replace(by_linux(COMMAND_LINE), event_type=EventType.NO_ACTION),
    ],
)
def test_what_an_event_says_of_itself_is_no_command_line(event: LoggedEvent) -> None:
    found = Machine((*without_command_line(), event), machine().files)
    refused(found, "none of the command lines", found.platform(KNOWN))


def test_a_relabelled_event_is_the_command_line_all_the_same() -> None:
    """The type is in no digest: whoever hands over the log may change it, and changes nothing."""
    found = Machine((*without_command_line(), dataclasses.replace(by_linux(COMMAND_LINE), event_type=1, data=b"")))
    found.files = machine().files
    assert verified(found).command_line == COMMAND_LINE


def test_a_foreign_file_is_named_with_its_digest() -> None:
    found = machine()
    found.files.append(loaded("/opt/mosquitto", FOREIGN))
    reason = refused(found, "^/opt/mosquitto, SHA-256 ")
    assert FOREIGN.hex() in reason
    assert reason.endswith("was loaded, and is neither part of the launch nor of the platform")
    found.files.append(loaded("/opt/\x1b[2J", filler("another")))
    assert refused(found, r"^/opt/mosquitto.*platform \(and 1 more\)$")
    found.files.pop(-2)
    assert refused(found, r"^/opt/\\x1b\[2J, ")


def test_what_only_the_launcher_vouches_for_is_not_known() -> None:
    """Else a launcher would write the broker that it starts into the closure, beside the honest one."""
    found = machine()
    python = next(m for m in CLOSURE.members if m.role is Role.CODE)
    platform = found.platform(digest for digest in KNOWN if digest != python.digest)
    refused(found, rf"^{python.name}, .*by the launcher's word alone", platform)
    booted = verify_booted(found.boot_log, found.ima_list, found.quote(), CLOSURE, platform, vouched=[python.digest])
    assert booted.files == 1 + len(CLOSURE.members)


@pytest.mark.parametrize("role", [Role.EXECUTABLE, Role.PLUGIN])
def test_a_broker_that_was_never_loaded(role: Role) -> None:
    found = machine()
    (member,) = (m for m in CLOSURE.members if m.role is role)
    found.files = [raw for raw in found.files if member.digest not in raw.digest]
    refused(found, f"^the launch says that {member.name} was started; IMA never saw it$")


def test_nothing_measured_shows_nothing() -> None:
    refused(Machine(), f"{MOSQUITTO} was started; IMA never saw it")


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        (VIOLATION, r"^/etc/broker.conf .*was open for writing while it was read"),
        (Raw(digest=b"sha512:\0" + filler("file", 64)), "measured with sha512"),
    ],
)
def test_a_measurement_that_says_too_little_is_refused(entry: Raw, says: str) -> None:
    found = machine()
    found.files.append(entry)
    refused(found, says)


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        (Raw(digest=b"sha1:\0" + bytes(20)), "measurement list: has entry"),
        (Raw(name=b"ima"), "another template than ima-ng and ima-sig"),
        (Raw(pcr=11), "an entry of another PCR"),
        (Raw(template_hash=b"\1" * 20), "is not what its template hash is of"),
    ],
)
def test_a_list_that_is_none_of_ours_is_refused(entry: Raw, says: str) -> None:
    found = machine()
    quote, platform = found.quote(), found.platform(KNOWN)
    found.files.append(entry)
    with pytest.raises(AttestationError, match=says):
        verify_booted(found.boot_log, found.ima_list, quote, CLOSURE, platform)


def test_another_list_does_not_lead_to_the_quote() -> None:
    found = machine()
    quote, platform = found.quote(), found.platform(KNOWN)
    found.files.pop()
    for data in (found.ima_list, b""):
        with pytest.raises(AttestationError, match="does not lead to the quoted value of PCR 10"):
            verify_booted(found.boot_log, data, quote, CLOSURE, platform)


def test_the_list_of_another_boot_is_refused() -> None:
    """A list that leads to PCR 10 and whose aggregate is of other PCRs."""
    found, other = machine(), Machine(boot("another"), machine().files)
    quote = found.quote()
    pcrs = (*quote.pcrs[:10], other.quote().pcrs[10], *quote.pcrs[11:])
    with pytest.raises(AttestationError, match="does not begin with the boot that was quoted"):
        verify_booted(
            found.boot_log, other.ima_list, dataclasses.replace(quote, pcrs=pcrs), CLOSURE, found.platform(KNOWN)
        )


def test_what_the_boot_has_of_the_launches_pcr_is_where_the_launch_log_begins() -> None:
    found = machine()
    extra = LoggedEvent(LAUNCH_PCR, 0xD, filler("an extension of the system"), b"sysext")
    silent = LoggedEvent(LAUNCH_PCR, EventType.NO_ACTION, bytes(32), b"")
    found.events = (*found.events, silent, extra, *LAUNCHES)
    booted = verified(found)
    assert booted.before == (extra, *LAUNCHES)
    before, quote = booted.before[:1], found.quote()
    launched = verify_launch_log(encode_event_log(booted.before), quote.launch_pcr, before)
    assert launched.launches == 2
    with pytest.raises(AttestationError, match="somebody else"):
        verify_launch_log(encode_event_log(booted.before), quote.launch_pcr)


def test_the_platform_is_the_operators_own_and_the_one_that_boots_so() -> None:
    found = machine()
    quote, good = found.quote(), found.platform(KNOWN)
    other = Machine(boot("ima_policy=tcb")).platform()
    assert find_platform([other, good], OPERATOR, quote) == good
    with pytest.raises(AttestationError, match=r"^PCR 9 is "):
        find_platform([other], OPERATOR, quote)
    with pytest.raises(AttestationError, match=r'no \[\[platform\]\] of operator "Somebody"'):
        find_platform([other, good], "Somebody", quote)
    with pytest.raises(AttestationError, match="no "):
        find_platform([], OPERATOR, quote)


def test_a_changed_byte_is_refused_or_changes_nothing_that_counts() -> None:
    """Type and data of an event say nothing here, so they may change; of the list every byte counts."""
    found = machine()
    quote, platform = found.quote(), found.platform(KNOWN)
    expected, harmless = verified(found), 0
    boot_log, ima_list = found.boot_log_bytes, found.ima_list
    for at in range(len(boot_log)):
        changed = boot_log[:at] + bytes([boot_log[at] ^ 0x40]) + boot_log[at + 1 :]
        with contextlib.suppress(AttestationError, DecodeError):
            assert verify_booted(decode_event_log(changed), ima_list, quote, CLOSURE, platform) == expected
            harmless += 1
    assert 0 < harmless < len(boot_log) // 2
    for at in range(len(ima_list)):
        changed = ima_list[:at] + bytes([ima_list[at] ^ 0x40]) + ima_list[at + 1 :]
        with pytest.raises(AttestationError):
            verify_booted(found.boot_log, changed, quote, CLOSURE, platform)


def test_the_sentences_say_what_is_not_shown() -> None:
    shows, files, *limits = explain(verified(machine()))
    assert "appliance 3" in shows
    assert files.startswith(f"{1 + len(CLOSURE.members)} files measured")
    assert all(limit.startswith("not shown: ") for limit in limits)
    said = " ".join(limits)
    assert all(word in said for word in ("memory", "root", "scripts", "firmware"))


def test_the_digest_of_a_command_line_is_linux_own() -> None:
    """Of the recorded boot: UTF-16 with its zero, as Linux measured it."""
    line = "console=ttyS0 ima_hash=sha256 ima_template=ima-ng quiet"
    assert by_linux(line) in recorded_boot()
    assert hashlib.sha256(f"{line}\0".encode("utf-16-le")).digest() == by_linux(line).digest
