"""Steps 21 to 24 of spec/verification.md: what a TPM says of the epochs of a file, and of the marks between quotes.

Each is one function that raises VerificationError, as in :mod:`sigillo.core.step`; when they run is
:mod:`sigillo.core.attestations`'.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from sigillo.core.attestation import AttestationEvidence, verify_periodic
from sigillo.core.attestation_trust import AttestationTrust, AttesterTrust
from sigillo.core.attested import (
    Launch,
    LaunchParts,
    Vouched,
    compare_libraries,
    stated_key,
    verify_boot,
    verify_launched,
    vouch,
)
from sigillo.core.booted import Booted
from sigillo.core.errors import AttestationError, DecodeError, VerificationError
from sigillo.core.event_log import EventLog
from sigillo.core.launch import Role
from sigillo.core.manifest import Manifest
from sigillo.core.platform_trust import PlatformTrust
from sigillo.core.quote import Quote, check_follows
from sigillo.core.trusted import SelfSignedStatement

NO_LIST: Final = "no build manifest by a builder of the policy says what this broker loads"
MAX_NAMED: Final = 4


def check_quote(evidence: AttestationEvidence, own: SelfSignedStatement) -> Quote:
    """Step 21: the key that the epoch's statement names made this quote, for this epoch and its checkpoint."""
    if evidence.subject.epoch_id != own.epoch_id:
        raise VerificationError(21, "the quote is of another epoch than the one above it")
    try:
        return verify_periodic(evidence, stated_key(own.statement))
    except AttestationError as error:
        raise VerificationError(21, error.reason) from error
    except DecodeError as error:
        raise VerificationError(21, str(error)) from error


def check_attester(quote: Quote, attester: AttesterTrust, trust: AttestationTrust, parts: LaunchParts) -> Vouched:
    """Step 21: the policy believes that the key is in a TPM of this operator."""
    try:
        return vouch(quote.key, attester, trust, parts.registrations)
    except AttestationError as error:
        raise VerificationError(21, error.reason) from error


def check_next(earlier: Quote, later: Quote) -> None:
    """Step 21: nothing happened to the TPM, and nothing was launched, between two quotes of an epoch."""
    try:
        check_follows(earlier, later)
    except AttestationError as error:
        raise VerificationError(21, error.reason) from error


def check_newer(earlier: Quote, later: Quote) -> None:
    """Step 21: of two epochs the later one is not quoted by an older state of the same TPM. Another one is no fault."""
    before, after = earlier.clock, later.clock
    if later.key.name == earlier.key.name and (after.reset_count, after.restart_count, after.clock_ms) < (
        before.reset_count,
        before.restart_count,
        before.clock_ms,
    ):
        reason = "the TPM is an older state of the one that quoted the epoch before, or was cleared since"
        raise VerificationError(21, reason)


def read_log(log: EventLog, parts: LaunchParts) -> None:
    """Step 22: a launch log has launches and their epochs, and nothing else."""
    try:
        parts.add_log(log)
    except AttestationError as error:
        raise VerificationError(22, error.reason) from error
    except DecodeError as error:
        raise VerificationError(22, str(error)) from error


def check_launch(own: SelfSignedStatement, quote: Quote, parts: LaunchParts) -> Launch | None:
    """Step 22: the launch log leads to the quoted PCR, with the files that the statement names. None: there is none."""
    try:
        return verify_launched(own.statement, own.epoch_id, quote, parts)
    except AttestationError as error:
        raise VerificationError(22, error.reason) from error


def check_boot(
    quote: Quote, launch: Launch, parts: LaunchParts, platforms: Sequence[PlatformTrust], vouched: Collection[bytes]
) -> Booted | None:
    """Step 24: what the machine booted and loaded up to this quote is what the reader knows. None: nothing says so."""
    try:
        return verify_boot(quote, launch, parts, platforms, vouched)
    except AttestationError as error:
        raise VerificationError(24, error.reason) from error


def check_libraries(launch: Launch, manifest: Manifest | None, *, demanded: bool) -> str:
    """Step 22: the broker loads what the build manifest of its epoch lists. Returns what was not compared, or differs.

    *manifest*: by a builder of the policy; None where there is none. *demanded*: a difference, or no list, fails.
    """
    code = sum(member.role is Role.CODE for member in launch.closure.members)
    own = f"{code} file(s) of launcher, log and attester"
    if manifest is None or not manifest.closure:
        if demanded:
            raise VerificationError(22, f"{NO_LIST}, and the policy demands it (attestation.manifest_libraries = true)")
        return f"not compared: loader and libraries ({NO_LIST}); {own}"
    others, unlisted = compare_libraries(launch.closure, manifest)
    if others and demanded:
        of = f"{len(others)} of the {len(manifest.closure)} files that the build manifest lists are others"
        raise VerificationError(22, f"{of}: {_few(others)} (policy: attestation.manifest_libraries = true)")
    differ = f"not those of the build manifest: {_few(others)}; " if others else ""
    more = f"libraries that it does not list, {_few(unlisted)}; " if unlisted else ""
    return f"{differ}not compared: {more}{own}"


def _few(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - MAX_NAMED} more" if len(paths) > MAX_NAMED else ""
    return ", ".join(paths[:MAX_NAMED]) + more
