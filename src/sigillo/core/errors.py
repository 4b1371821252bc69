"""Errors that a caller can branch on. Bad input is always one of these, never another exception."""


class SigilloError(Exception):
    """Base of every error that Sigillo raises on purpose."""


class DecodeError(SigilloError):
    """A value is outside its format: bytes that were read, or fields that were about to be written (exit code 2).

    `field` names the value as the spec does; `reason` says what is wrong with it.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class SignatureError(SigilloError):
    """A signature does not hold, or its public key may not be used. Verification says at which step it mattered."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class MerkleError(SigilloError):
    """A proof does not lead to its root, or a position is not in the tree (spec/log.md)."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class VerificationError(SigilloError):
    """Evidence is readable and fails at a numbered step of spec/verification.md (exit code 1)."""

    def __init__(self, step: int, reason: str) -> None:
        super().__init__(f"step {step}: {reason}")
        self.step = step
        self.reason = reason


class AccusationError(SigilloError):
    """An accusation is readable and proves nothing (spec/accusation.md; exit code 1)."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class AttestationError(SigilloError):
    """Attestation evidence, an endorsement or an event log is readable and does not show what it is for."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ConfigurationError(SigilloError):
    """A mosquitto.conf, or what it names, cannot be read or does not say what it has to (exit code 2).

    `where` is the file and, where it is about one, the line; `reason` names the directive and what would do.
    """

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: {reason}")
        self.where = where
        self.reason = reason


class PolicyError(SigilloError):
    """A policy cannot be used; `field` is the key in the file that its author has to change (exit code 2)."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason
