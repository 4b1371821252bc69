"""Steps 21 to 23 of spec/verification.md: what a TPM says of the epochs of a file, and of the marks between quotes.

Each is one function that raises VerificationError, as in :mod:`sigillo.core.step`; when they run is
:mod:`sigillo.core.attestations`'.
"""

from __future__ import annotations

from sigillo.core.attestation import AttestationEvidence, verify_periodic
from sigillo.core.attestation_trust import AttestationTrust, AttesterTrust
from sigillo.core.attested import Launch, LaunchParts, Vouched, stated_key, verify_launched, vouch
from sigillo.core.errors import AttestationError, DecodeError, VerificationError
from sigillo.core.event_log import EventLog
from sigillo.core.quote import Quote, check_follows
from sigillo.core.trusted import SelfSignedStatement


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
