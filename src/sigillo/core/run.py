"""How a step of spec/verification.md is run: counted, and what it finds written into the ledger."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from sigillo.core.errors import VerificationError
from sigillo.core.ledger import Ledger
from sigillo.core.policy import Policy

T = TypeVar("T")
P = ParamSpec("P")


class Run:
    """Runs steps for one walk through a file, under one policy or none."""

    def __init__(self, policy: Policy | None, ledger: Ledger) -> None:
        self._permissions = policy.permissions() if policy else ()
        self._has_policy = policy is not None
        self._ledger = ledger

    def step(self, number: int, check: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> tuple[bool, T | None]:
        """Run one step: whether it passed, and its value."""
        self._ledger.ran(number)
        return self.attempt(check, *args, **kwargs)

    def attempt(self, check: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> tuple[bool, T | None]:
        """Run a part of a step, which is not counted."""
        try:
            return True, check(*args, **kwargs)
        except VerificationError as error:
            self._ledger.failed(error)
            return False, None

    def allow(self, permission: str, number: int, check: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> bool:
        """Run one step whose failure the policy may allow: then it is a note, and the permission was needed.

        Returns whether it passed without.
        """
        self._ledger.ran(number)
        return self.permit(permission, number, check, *args, **kwargs)

    def permit(self, permission: str, number: int, check: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> bool:
        """The same for a part of a step, which is not counted."""
        try:
            check(*args, **kwargs)
        except VerificationError as error:
            if permission in self._permissions:
                self._ledger.relaxed(permission)
                self._ledger.noted(number, error.reason)
            else:
                self._ledger.failed(error)
            return False
        return True

    def absent(self, permission: str, number: int, reason: str, times: int = 1) -> None:
        """The file has nothing for this step, that many times: the policy permits that, or the step fails.

        Without a policy nobody says which.
        """
        if self._has_policy and permission not in self._permissions:
            self._ledger.failed(VerificationError(number, f"{reason} (policy: {permission} = false)"))
            return
        self._ledger.absent(number, reason, times)
        if self._has_policy:
            self._ledger.relaxed(permission, times)
