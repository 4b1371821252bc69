"""Children of `sigillo up`: forked without exec (docs/adr/0006), rights given up before anything else, never orphans.

A child gets SIGTERM when its parent dies (prctl PR_SET_PDEATHSIG), and has a session of its own: Ctrl-C reaches the
supervisor only, which stops its children in order.
"""

from __future__ import annotations

import ctypes
import os
import re
import resource
import signal
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from sigillo.broker.account import Account
from sigillo.core.errors import SigilloError

FAILED = 2
"""Exit code of a child that said why it cannot go on."""

_PR_SET_PDEATHSIG, _PR_CAPBSET_READ, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 23, 24, 38
_LIBC = ctypes.CDLL(None, use_errno=True)
_HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)


@dataclass(frozen=True, slots=True)
class Child:
    """A child process that has not been waited for: its id belongs to it until then."""

    name: str
    pid: int

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def catches(self, number: signal.Signals) -> bool:
        """Whether it has a handler for a signal by now; False once it has ended."""
        try:
            status = Path(f"/proc/{self.pid}/status").read_text()
        except OSError:
            return False
        caught = re.search(r"^SigCgt:\s*([0-9a-f]+)$", status, re.MULTILINE)
        return caught is not None and bool(int(caught[1], 16) >> (number - 1) & 1)


def ending(status: int) -> str:
    """What `waitpid` said about a child, in words."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return f"killed by {signal.Signals(number).name}" if number in set(signal.Signals) else f"signal {number}"
    return f"exit code {os.WEXITSTATUS(status)}"


def start_child(name: str, account: Account, keep: Iterable[int], main: Callable[[], None]) -> Child:
    """Fork; the child becomes *account*, closes all descriptors but 0…2 and *keep*, runs *main*, exits 0.

    A SigilloError or OSError of *main* goes to standard error as one line, and the exit code is FAILED; anything else
    is a mistake of ours: its trace goes there too, exit code 1.
    """
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return Child(name, pid)
    code = 1
    try:
        _settle(account, parent, keep)
        main()
        code = 0
    except (SigilloError, OSError) as error:
        os.write(2, f"{error}\n".encode())
        code = FAILED
    except BaseException:  # noqa: BLE001  # nothing may run on into the parent's code below the fork
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(code)


def start_program(
    name: str,
    account: Account,
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    streams: tuple[int, int],
    cwd: Path,
) -> Child:
    """Fork and exec *command* as *account* with exactly *environment* and no descriptor but *streams*.

    streams: what becomes standard input, and what becomes standard output and error. Returns once the program runs, or
    will not.
    """
    reader, writer = os.pipe()  # closed on exec

    def main() -> NoReturn:
        standard_input, output = streams
        os.dup2(standard_input, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        _close_but({0, 1, 2, writer})
        os.chdir(cwd)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, hard), hard))
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # what is ignored stays so over exec
        os.execve(command[0], list(command), dict(environment))  # noqa: S606  # no shell is the point

    child = start_child(name, account, (*streams, writer), main)
    os.close(writer)
    os.read(reader, 1)
    os.close(reader)
    return child


def _settle(account: Account, parent: int, keep: Iterable[int]) -> None:
    """What every child does first; the order matters: a change of user clears the death signal."""
    signal.set_wakeup_fd(-1)
    for number in _HANDLED:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # OpenSSL writes without MSG_NOSIGNAL: a lost peer is an OSError
    os.setsid()
    _close_but({0, 1, 2, *keep})
    _drop_bounding_set()
    account.assume()
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.umask(0o027)
    if os.getppid() != parent:  # it died before the death signal was set
        os._exit(FAILED)


def _drop_bounding_set() -> None:
    """No program that is run from here on gets a capability. Where this may not be done, no_new_privs has to do."""
    number = 0
    try:
        while (held := _LIBC.prctl(_PR_CAPBSET_READ, number, 0, 0, 0)) >= 0:
            if held:
                _prctl(_PR_CAPBSET_DROP, number)
            number += 1
    except PermissionError:
        return


def _close_but(keep: set[int]) -> None:
    for entry in os.listdir("/proc/self/fd"):
        if int(entry) not in keep:
            try:
                os.close(int(entry))
            except OSError:
                continue  # the descriptor of the listing itself


def _prctl(option: int, value: int) -> None:
    if _LIBC.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}: {os.strerror(ctypes.get_errno())}")
