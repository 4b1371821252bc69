"""Boot log and measurement list, kept by reset of the TPM; and the lines of evidence that are made of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from sigillo import disk
from sigillo.broker.boot_record import BootRecord, boot_lines, measured_before
from sigillo.broker.event import Event, EventName
from sigillo.broker.folder import OperatorFolder
from sigillo.broker.settings import Settings, load
from sigillo.core.attestation import AttestationEvidence
from sigillo.core.event_log import LoggedEvent, encode_event_log
from sigillo.core.evidence_line import BootLine, ImaLine
from sigillo.core.mark import Checkpoint
from sigillo.core.quote import LAUNCH_PCR, Subject

from ..adversary.machine import Machine, boot, loaded
from ..adversary.tpm import LyingTpm
from ..vector.accept_ima import Raw
from ..vector.key import filler
from ..vector.sample import EPOCH_ID


class Kept:
    """An operator folder, the two files that a kernel would have, and what is reported."""

    def __init__(self, path: Path) -> None:
        self.folder = OperatorFolder.at(path)
        self.folder.attestation.mkdir()
        self.boot_log, self.ima_list = path / "bios", path / "ima"
        self.machine = Machine()
        self.events: list[Event] = []
        self.write()
        self.record = self.new()

    def new(self) -> BootRecord:
        settings = Settings("h", "o", boot_log=str(self.boot_log), ima_list=str(self.ima_list))
        return BootRecord(self.folder, settings, self.events.append)

    def write(self) -> None:
        self.boot_log.write_bytes(self.machine.boot_log_bytes)
        self.ima_list.write_bytes(self.machine.ima_list)

    def said(self) -> list[tuple[str, str]]:
        assert {event.name for event in self.events} <= {EventName.BOOT_UNRECORDED}
        return [(Path(str(event.fields["path"])).name, str(event.fields["reason"])) for event in self.events]

    def lines(self, *resets: int) -> list[BootLine | ImaLine]:
        return boot_lines(self.folder, [quote(reset) for reset in resets])


def quote(resets: int) -> AttestationEvidence:
    return LyingTpm().quote(Subject(EPOCH_ID, Checkpoint()), resets=resets)


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


def test_settings_name_other_files_and_are_left_out_where_they_are_linux_own(tmp_path: Path) -> None:
    path = tmp_path / "sigillo.toml"
    for settings in (Settings("h", "o"), Settings("h", "o", boot_log="/a", ima_list="/b")):
        path.write_bytes(settings.encode())
        assert load(path) == settings
        assert (b"boot_log" in settings.encode()) == bool(settings.boot_log)


def test_the_boot_log_is_kept_once_and_the_list_as_it_grows(kept: Kept) -> None:
    kept.record.keep(7)
    first = kept.machine.ima_list
    kept.machine.files.append(loaded("/usr/sbin/mosquitto", filler("executable")))
    kept.write()
    kept.boot_log.write_bytes(b"a kernel does not change it")
    kept.record.keep(7)
    assert kept.folder.boot_log(7).read_bytes() == kept.machine.boot_log_bytes
    assert kept.folder.ima_list(7).read_bytes() == kept.machine.ima_list != first
    assert kept.folder.ima_list(7).stat().st_mode & 0o777 == disk.PUBLIC
    assert kept.said() == []


def test_what_did_not_grow_is_not_written_again(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.record.keep(7)
    monkeypatch.setattr(disk, "replace", lambda *_: pytest.fail("written"))
    kept.record.keep(7)


def test_each_reset_has_its_own(kept: Kept) -> None:
    kept.record.keep(7)
    kept.machine = Machine(boot("quiet"))
    kept.write()
    kept.record.keep(8)
    assert kept.folder.boot_log(7).read_bytes() != kept.folder.boot_log(8).read_bytes()
    assert kept.folder.ima_list(7).read_bytes() != kept.folder.ima_list(8).read_bytes()
    assert kept.said() == []


def test_a_machine_without_them_is_said_to_be_one_once(kept: Kept) -> None:
    kept.boot_log.unlink()
    kept.ima_list.unlink()
    kept.record.keep(7)
    kept.record.keep(7)
    assert kept.said() == [("bios", "No such file or directory"), ("ima", "No such file or directory")]
    assert list(kept.folder.attestation.iterdir()) == []
    assert kept.lines(7) == []


def test_a_list_of_another_boot_does_not_take_the_place_of_the_one_kept(kept: Kept) -> None:
    kept.record.keep(7)
    before = kept.folder.ima_list(7).read_bytes()
    kept.machine = Machine(boot("quiet"))
    kept.write()
    kept.record.keep(7)
    assert kept.folder.ima_list(7).read_bytes() == before
    ((name, reason),) = kept.said()
    assert name == "ima"
    assert "of another boot" in reason


def test_a_disk_that_is_full_is_said_and_what_was_kept_stays(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.record.keep(7)
    before = kept.folder.ima_list(7).read_bytes()
    kept.machine.files.append(Raw())
    kept.write()

    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(disk, "replace", full)
        kept.record.keep(7)
    assert kept.said() == [("ima", "No space left on device")]
    assert kept.folder.ima_list(7).read_bytes() == before
    kept.record.keep(7)
    assert kept.folder.ima_list(7).read_bytes() == kept.machine.ima_list


def test_too_much_is_not_kept(kept: Kept) -> None:
    with kept.boot_log.open("wb") as file:
        file.truncate(16 * 1024 * 1024 + 1)
    kept.record.keep(7)
    assert kept.said() == [("bios", "is longer than 16777216 bytes")]
    assert kept.lines(7) == []  # a list without the log of its boot shows nothing


def test_lines_are_of_the_boots_in_which_the_quotes_were_made(kept: Kept) -> None:
    found = {}
    for reset, line in ((7, "a"), (8, "b"), (9, "c")):
        kept.machine = Machine(boot(line))
        kept.write()
        kept.record.keep(reset)
        found[reset] = BootLine(kept.machine.boot_log_bytes), ImaLine(kept.machine.ima_list)
    assert kept.lines() == []
    assert kept.lines(8, 8, 10) == list(found[8])
    boots, lists = zip(found[7], found[9], strict=True)
    assert kept.lines(9, 7) == [
        *sorted(boots, key=lambda line: line.log),  # type: ignore[union-attr]
        *sorted(lists, key=lambda line: line.measurements),  # type: ignore[union-attr]
    ]


def test_what_the_boot_has_of_the_launches_pcr(kept: Kept) -> None:
    extension = LoggedEvent(LAUNCH_PCR, 0xD, filler("an extension of the system"), b"sysext")
    settings = Settings("h", "o", boot_log=str(kept.boot_log))
    assert measured_before(settings) == ()
    kept.machine = Machine((*boot(), extension))
    kept.write()
    assert measured_before(settings) == (extension,)
    kept.boot_log.write_bytes(b"no log")
    assert measured_before(settings) == ()
    kept.boot_log.unlink()
    assert measured_before(settings) == ()


def test_of_many_boots_the_newest_eight(kept: Kept) -> None:
    for reset in range(1, 11):
        kept.machine = Machine(boot(str(reset)))
        kept.write()
        kept.record.keep(reset)
    shown = kept.lines(*range(1, 11))
    newest = {BootLine(kept.folder.boot_log(reset).read_bytes()) for reset in range(3, 11)}
    assert {line for line in shown if isinstance(line, BootLine)} == newest
    assert len(shown) == 16


def test_what_a_verifier_would_refuse_does_not_get_into_evidence(kept: Kept) -> None:
    kept.record.keep(7)
    kept.folder.ima_list(7).write_bytes(kept.machine.ima_list + Raw(digest=b"sha1:\0" + bytes(20)).encode())
    assert kept.lines(7) == [BootLine(kept.machine.boot_log_bytes)]
    kept.folder.ima_list(7).write_bytes(kept.machine.ima_list + 20_000 * Raw().encode())  # more than fits a line
    assert kept.lines(7) == [BootLine(kept.machine.boot_log_bytes)]
    kept.folder.boot_log(7).write_bytes(encode_event_log(kept.machine.events)[:-1])
    assert kept.lines(7) == []
