"""Who runs what: accounts of the system, and whether they can reach a folder."""

from __future__ import annotations

import os
import pwd
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from sigillo.broker.error import BrokerError

BROKER_USER = "mosquitto"
REST_USER = "sigillo"
PUBLIC_USER = "nobody"


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the system with its main group."""

    name: str
    uid: int
    gid: int

    def assume(self) -> None:
        """Become this user for good, without other groups. Does nothing where the process is it already.

        Raises BrokerError if the old rights could be taken back.
        """
        if os.getresuid() == (self.uid,) * 3:
            return
        os.setgroups([])
        os.setresgid(self.gid, self.gid, self.gid)
        os.setresuid(self.uid, self.uid, self.uid)
        if (
            os.getresuid() != (self.uid,) * 3
            or os.getresgid() != (self.gid,) * 3
            or os.getgroups() not in ([], [self.gid])
        ):
            raise BrokerError(f"user {self.name}: could not become it for good")

    def reaches(self, path: Path) -> bool:
        """Whether this user can enter *path* (a folder that exists)."""
        return self.may(path / ".", os.F_OK)

    def may(self, path: Path, mode: int) -> bool:
        """Whether this user may do *mode* (as for os.access) to *path*. Asks the kernel, in a child with its rights."""
        # Python drops what a handler raises while it forks: a Ctrl-C waits until that is over
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
        try:
            child = os.fork()
            if child == 0:
                self._report_access(path, mode)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return os.waitpid(child, 0)[1] == 0

    def _report_access(self, path: Path, mode: int) -> NoReturn:
        code = 1
        try:
            self.assume()
            code = 0 if os.access(path, mode) else 1
        except (OSError, BrokerError):
            pass
        finally:
            os._exit(code)


@dataclass(frozen=True, slots=True)
class Accounts:
    """`broker` runs Mosquitto; `rest` runs launcher and archive, and holds the log key.

    `reason`: why one user holds both; empty where they are separated. `public`: serves what is public, and should have
    rights to nothing.
    """

    broker: Account
    rest: Account
    reason: str
    public: Account | None = None

    @property
    def separated(self) -> bool:
        """Broker and log key belong to different users (spec/epoch.md, key 19)."""
        return not self.reason


def own_account() -> Account:
    """The account of this process."""
    uid = os.geteuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    return Account(name, uid, os.getegid())


def find_account(name: str) -> Account | None:
    """The account of this name, or None."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return Account(name, entry.pw_uid, entry.pw_gid)


def choose_accounts(folder: Path) -> Accounts:
    """Who runs what for the operator folder *folder*, which exists.

    Raises BrokerError: as root, the broker has no user of its own that could enter the folder.
    """
    own = own_account()
    if own.uid != 0:
        return Accounts(own, own, f"`sigillo up` runs as {own.name}, not as root")
    broker = find_account(BROKER_USER)
    if broker is None:
        raise BrokerError(f"there is no user {BROKER_USER}, and the broker does not run as root; install mosquitto")
    if not broker.reaches(folder):
        raise BrokerError(
            f"{folder}: user {BROKER_USER} cannot enter it, and the broker does not run as root; choose a folder "
            "outside private homes, for example /var/lib/sigillo, or let others enter every folder above it (chmod o+x)"
        )
    rest = find_account(REST_USER)
    public = find_account(PUBLIC_USER)
    if rest is None:
        reason = f"there is no user {REST_USER} (make it: useradd --system --user-group {REST_USER})"
        return Accounts(broker, broker, reason, public)
    if not rest.reaches(folder):
        return Accounts(broker, broker, f"user {REST_USER} cannot enter {folder}", public)
    return Accounts(broker, rest, "", public)
