"""What the machine has measured of itself, kept beside the launches: spec/booted.md, "Kept by the operator".

The kernel forgets both at the next boot, and evidence about this one is asked for later. They are read after a quote,
so that they have all that is in it. A machine without them, or that lets nobody read them, is said to be one, once.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from sigillo import disk
from sigillo.broker.event import Event, EventName, Report, cut
from sigillo.broker.folder import OperatorFolder
from sigillo.broker.settings import Settings
from sigillo.core.attestation import AttestationEvidence
from sigillo.core.booted import before_launches
from sigillo.core.errors import AttestationError, DecodeError
from sigillo.core.event_log import MAX_LOG, LoggedEvent, decode_event_log
from sigillo.core.evidence import MAX_BOOTS
from sigillo.core.evidence_codec import encode_line
from sigillo.core.evidence_line import BootLine, ImaLine, shared_order
from sigillo.core.ima import MAX_LIST, decode_measurements
from sigillo.core.tpm import decode_attest

BOOT_LOG: Final = Path("/sys/kernel/security/tpm0/binary_bios_measurements")
IMA_LIST: Final = Path("/sys/kernel/security/ima/binary_runtime_measurements")


class BootRecord:
    """Keeps boot log and measurement list of each reset of the TPM. Reports `boot-unrecorded`, once for each file."""

    def __init__(self, folder: OperatorFolder, settings: Settings, report: Report) -> None:
        self._folder, self._report = folder, report
        self._boot_log = _boot_log(settings)
        self._ima_list = Path(settings.ima_list) if settings.ima_list else IMA_LIST
        self._said: set[Path] = set()

    def keep(self, reset_count: int) -> None:
        """Keep what there is, after a quote in which the TPM says this number of resets. Raises nothing."""
        kept = self._folder.boot_log(reset_count)
        if not kept.exists():
            self._keep(self._boot_log, kept, MAX_LOG)
        self._keep(self._ima_list, self._folder.ima_list(reset_count), MAX_LIST)

    def _keep(self, source: Path, kept: Path, most: int) -> None:
        try:
            before = kept.read_bytes() if kept.exists() else None
            with source.open("rb") as file:
                data = file.read(most + 1)
            if len(data) > most:
                self._say(source, f"is longer than {most} bytes")
            elif not data.startswith(before or b""):
                self._say(source, f"does not go on from {kept}: of another boot, without a reset of the TPM")
            elif data != before:
                disk.replace(kept, data, disk.PUBLIC)
        except OSError as error:
            self._say(source, error.strerror or str(error))

    def _say(self, source: Path, reason: str) -> None:
        if source not in self._said:
            self._said.add(source)
            self._report(Event(EventName.BOOT_UNRECORDED, {"path": str(source), "reason": cut(reason)}))


def measured_before(settings: Settings) -> tuple[LoggedEvent, ...]:
    """What this boot has of the launches' PCR, from its log; nothing where that cannot be read."""
    try:
        return before_launches(decode_event_log(_boot_log(settings).read_bytes()))
    except (OSError, AttestationError, DecodeError):
        return ()


def boot_lines(folder: OperatorFolder, quotes: Iterable[AttestationEvidence]) -> list[BootLine | ImaLine]:
    """The lines of an evidence file for the boots in which *quotes* were made, in its order; of at most 8, the newest.

    What is not there, cannot be read by a verifier, or fits no line, is left out; a list without its boot log too.
    Raises OSError, DecodeError for what is no quote.
    """
    resets = {decode_attest(quote.attest_bytes).clock.reset_count for quote in quotes}
    logs: set[BootLine | ImaLine] = set()
    lists: set[BootLine | ImaLine] = set()
    for reset_count in sorted(resets)[-MAX_BOOTS:]:
        paths = folder.boot_log(reset_count), folder.ima_list(reset_count)
        boot_log, ima_list = (path.read_bytes() if path.exists() else None for path in paths)
        if boot_log is None or not _is_readable(BootLine(boot_log)):
            continue
        logs.add(BootLine(boot_log))
        if ima_list is not None and _is_readable(ImaLine(ima_list)):
            lists.add(ImaLine(ima_list))
    return [*sorted(logs, key=shared_order), *sorted(lists, key=shared_order)]


def _boot_log(settings: Settings) -> Path:
    return Path(settings.boot_log) if settings.boot_log else BOOT_LOG


def _is_readable(line: BootLine | ImaLine) -> bool:
    try:
        encode_line(line)
        if isinstance(line, BootLine):
            decode_event_log(line.log)
        else:
            decode_measurements(line.measurements)
    except (AttestationError, DecodeError):
        return False
    return True
