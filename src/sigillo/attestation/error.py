"""What goes wrong with a TPM, or with who uses it."""

from __future__ import annotations

from sigillo.core.errors import SigilloError


class TpmError(SigilloError):
    """A TPM does not answer, refuses, or answers with something else. `code`: its response code where it gave one."""

    def __init__(self, reason: str, code: int | None = None) -> None:
        super().__init__(reason)
        self.code = code


class RegistrationError(SigilloError):
    """A registrar refuses: the TPM did not prove what it claims, or its identity belongs to another."""
