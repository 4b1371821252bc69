"""What a quote attests of an epoch: whose TPM made it, and what was launched (spec/verification.md, "Attestation").

The same for evidence from the log and for the answer to a challenge.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from sigillo.core.attestation_trust import AttestationTrust, AttesterTrust, RegistrarTrust
from sigillo.core.booted import BOOT_PCRS, Booted, before_launches, find_platform, verify_booted
from sigillo.core.endorsement import EndorsementRoot, SignedRegistration, verify_endorsement, verify_registration
from sigillo.core.errors import AttestationError, DecodeError
from sigillo.core.event_log import EventLog, LoggedEvent, check_replay
from sigillo.core.ima import verify_measurements
from sigillo.core.launch import Closure, Launched, LaunchEvent, Role, check_statement, read_launches
from sigillo.core.manifest import Manifest
from sigillo.core.platform_trust import PlatformTrust
from sigillo.core.process_rule import PROCESS_RULES, appraise_process
from sigillo.core.quote import Quote
from sigillo.core.rule import Violation, appraise_configuration
from sigillo.core.statement import AttesterKind, EpochStatement
from sigillo.core.tpm import AttestationKey

MAX_LAUNCHES: Final = 16_384
"""Launches that a reader keeps, of all logs together."""
MAX_TEXTS: Final = 4 * 1024 * 1024
"""Bytes of configuration texts that a reader keeps."""
_MAIN: Final = "mosquitto.conf"
UNMEASURED: Final = "its statement names no attestation key: it was started without measurement"


@dataclass(frozen=True, slots=True)
class Vouched:
    """Whose TPM an attestation key is in, by the policy. *software*: a program, not a chip.

    *liars*: alternatives, as of a check of a verdict: any one could have made another key pass for it.
    """

    software: bool
    liars: tuple[tuple[str, ...], ...]


@dataclass(slots=True)
class LaunchParts:
    """What a file, or an answer, has of launches: closures by object hash, launches by epoch id, registrations.

    *texts*: of configuration files, by name and SHA-256. *boots*: boot logs; *measurements*: lists of IMA.
    """

    closures: dict[bytes, Closure] = field(default_factory=dict)
    launches: dict[bytes, Launched] = field(default_factory=dict)
    texts: dict[tuple[str, bytes], str] = field(default_factory=dict)
    text_size: int = 0
    registrations: list[SignedRegistration] = field(default_factory=list)
    boots: list[EventLog] = field(default_factory=list)
    measurements: list[bytes] = field(default_factory=list)

    def add_text(self, name: str, text: str) -> None:
        """The text of a configuration file; it counts where a closure has its hash under this name.

        What is too much of them all is not kept, as if it were not shown.
        """
        data = text.encode()
        if self.text_size + len(data) <= MAX_TEXTS:
            self.text_size += len(data)
            self.texts[name, hashlib.sha256(data).digest()] = text

    def add_log(self, log: EventLog) -> None:
        """The launches of a log: all, or none where it raises. It may begin with what one of the boots has of its PCR.

        Raises AttestationError, DecodeError where it is not one of launches alone, has an epoch that was launched
        before, or one launch too many.
        """
        found: dict[bytes, Launched] = {}
        for launched in read_launches(log, self._before(log)):
            if launched.epoch_id in found or launched.epoch_id in self.launches:
                raise AttestationError(f"the epoch {launched.epoch_id.hex()} was launched twice")
            found[launched.epoch_id] = launched
            if len(self.launches) + len(found) > MAX_LAUNCHES:
                raise AttestationError(f"the launch logs have more than {MAX_LAUNCHES} launches")
        self.launches |= found

    def _before(self, log: EventLog) -> tuple[LoggedEvent, ...]:
        begins = [before for boot in self.boots if log.events[: len(before := before_launches(boot))] == before]
        return max(begins, key=len, default=())


def stated_key(statement: EpochStatement) -> bytes:
    """TPM name, 34 bytes, of the attestation key that a statement names. Raises AttestationError where it has none."""
    attester = statement.attester
    if attester is None or attester.kind is not AttesterKind.TPM or not isinstance(attester.name, bytes):
        raise AttestationError(UNMEASURED)
    return attester.name


def vouch(
    key: AttestationKey, attester: AttesterTrust, trust: AttestationTrust, registrations: Iterable[SignedRegistration]
) -> Vouched:
    """Whose TPM the key is in. Raises AttestationError where the policy does not believe that it is the operator's."""
    if attester.keys:
        if key.name not in attester.keys:
            raise AttestationError(f"the attestation key {key.name.hex()} is none that the policy pins")
        owner = f"operator {attester.operator}" if attester.software else f"TPM of operator {attester.operator}"
        found = Vouched(attester.software, ((owner,),))
    else:
        found = _endorsed(key, attester, trust, registrations)
    if found.software and not trust.allow_software:
        raise AttestationError("the TPM is a software TPM (policy: attestation.allow_software = false)")
    return found


def _endorsed(
    key: AttestationKey, attester: AttesterTrust, trust: AttestationTrust, registrations: Iterable[SignedRegistration]
) -> Vouched:
    reason = "there is no registration that says in which TPM the attestation key is"
    for signed in registrations:
        if signed.registration.key.name != key.name:
            reason = "no registration is of this attestation key"
            continue
        try:
            registrar = _registrar(signed, attester, trust)
            root = _endorsement_root(signed, attester, trust)
        except AttestationError as error:
            reason = error.reason
            continue
        operator = f"TPM of operator {attester.operator}"
        return Vouched(root.software, ((operator,), (f"registrar {registrar.name}",), (f"TPM maker {root.name}",)))
    raise AttestationError(reason)


def _registrar(signed: SignedRegistration, attester: AttesterTrust, trust: AttestationTrust) -> RegistrarTrust:
    reason = "the registration is by no registrar of the policy"
    for registrar in trust.registrars:
        try:
            verify_registration(signed, registrar.key, attester.identity)
        except AttestationError as error:
            reason = f"{error.reason} (registrar {registrar.name})"
        else:
            return registrar
    raise AttestationError(reason)


def _endorsement_root(signed: SignedRegistration, attester: AttesterTrust, trust: AttestationTrust) -> EndorsementRoot:
    reason = "no TPM maker of the policy certifies the EK"
    for maker in trust.makers:
        try:
            endorsement = verify_endorsement(signed.registration.chain, maker)
        except (AttestationError, DecodeError) as error:
            reason = f"{error.reason} (TPM maker {maker.name})"
            continue
        if endorsement.fingerprint not in attester.endorsement_keys:
            raise AttestationError(f"the EK {endorsement.fingerprint.hex()} is none that the policy pins")
        invalid = endorsement.invalid_at(signed.registration.time_ns)
        if invalid:
            raise AttestationError(f"{invalid.name} was not valid when the key was registered")
        return maker
    raise AttestationError(reason)


@dataclass(frozen=True, slots=True)
class Launch:
    """What the launcher said that it started for an epoch, as the quoted PCR 13 has it.

    *texts*: of the configuration files of the closure, by name; None where it is not shown.
    """

    launched: Launched
    closure: Closure
    texts: Mapping[str, str | None]


def verify_launched(statement: EpochStatement, epoch_id: bytes, quote: Quote, parts: LaunchParts) -> Launch | None:
    """What was launched for this epoch, of which the quote is; None where there is no launch log with it.

    Raises AttestationError where the log does not lead to the quoted PCR, names other files than the statement, or a
    broker that was started with anything but its configuration.
    """
    launched = parts.launches.get(epoch_id)
    if launched is None:
        return None
    if launched.launch_pcr != quote.launch_pcr:
        raise AttestationError("the launch log does not lead to the quoted value of PCR 13 at this epoch")
    if launched.event.epoch_number != statement.number:
        raise AttestationError(f"the launch was of epoch {launched.event.epoch_number}, not of {statement.number}")
    closure = parts.closures.get(launched.event.closure_hash)
    if closure is None:
        raise AttestationError(f"the closure {launched.event.closure_hash.hex()} of the launch is not there")
    check_statement(closure, statement)
    if launched.event.environment:
        raise AttestationError("the broker was launched with an environment")
    _check_command(launched.event, closure)
    texts = {m.name: parts.texts.get((m.name, m.digest)) for m in closure.members if m.role is Role.CONFIGURATION}
    return Launch(launched, closure, texts)


def appraise_launch(launch: Launch, trust: AttestationTrust) -> tuple[Violation, ...]:
    """The rules of the policy that the launch breaks."""
    if trust.unsafe_any_configuration:
        return ()
    asked = [rule for rule in trust.rules if rule not in PROCESS_RULES]
    of_process = [rule for rule in trust.rules if rule in PROCESS_RULES]
    found = appraise_configuration(launch.texts, launch.launched.event.command, asked) if asked else ()
    return (*found, *appraise_process(launch.launched.process, of_process))


def _check_command(event: LaunchEvent, closure: Closure) -> None:
    """One argument more opens a listener that no configuration names (`-p`), or another configuration."""
    mains = [m.name for m in closure.members if m.role is Role.CONFIGURATION and m.name.split("/")[-1] == _MAIN]
    _, *arguments = event.command
    if len(arguments) != 2 or arguments[0] != "-c" or not any(_is_path_of(arguments[1], name) for name in mains):
        raise AttestationError(f"the broker was launched by another command than PROGRAM -c {_MAIN}")


def _is_path_of(path: str, name: str) -> bool:
    """Names of the configuration tree are relative to the operator folder, others absolute (spec/epoch.md)."""
    return path == name or (not name.startswith("/") and path.endswith(f"/{name}"))


def compare_libraries(closure: Closure, manifest: Manifest) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Loader and libraries of a launch beside what a build manifest says that the broker loads.

    Returns paths: of those that the manifest lists and the launch does not have, with this content; and of those that
    the launch has and the manifest does not list, nor has built. Which are the same is decided by the content alone.
    """
    loaded = {m.digest: m.name for m in closure.members if m.role in (Role.LOADER, Role.LIBRARY)}
    listed = {file.sha256: file.path for file in manifest.closure}
    built = {output.sha256 for _, output in manifest.outputs()}
    others = tuple(path for digest, path in listed.items() if digest not in loaded)
    return others, tuple(name for digest, name in loaded.items() if digest not in listed and digest not in built)


def verify_boot(
    quote: Quote, launch: Launch, parts: LaunchParts, platforms: Sequence[PlatformTrust], vouched: Collection[bytes]
) -> Booted | None:
    """What the machine of a quote had booted and loaded by then; None where there is no boot log, or no list, at all.

    *platforms*: those of its operator; *vouched*: as of :func:`sigillo.core.booted.verify_booted`. Raises
    AttestationError where none of the logs leads to the quote, or one shows what the reader does not know.
    """
    if not (parts.boots and parts.measurements):
        return None
    boot = next((boot for boot in parts.boots if _leads(boot, quote)), None)
    if boot is None:
        raise AttestationError("no boot log leads to the quoted values of PCR 0 to 9")
    listed = next((listed for listed in parts.measurements if _is_of(listed, quote)), None)
    if listed is None:
        raise AttestationError("no measurement list of IMA leads to the quoted value of PCR 10")
    platform = find_platform(platforms, platforms[0].operator, quote)
    return verify_booted(boot, listed, quote, launch.closure, platform, vouched=vouched)


def _leads(boot: EventLog, quote: Quote) -> bool:
    try:
        check_replay(boot.events, quote.pcrs, BOOT_PCRS)
    except AttestationError:
        return False
    return True


def _is_of(listed: bytes, quote: Quote) -> bool:
    try:
        verify_measurements(listed, quote.pcrs)
    except (AttestationError, DecodeError):
        return False
    return True
