"""How the ends of the children are judged."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from sigillo.broker.account import Account, Accounts
from sigillo.broker.process import FAILED, Child
from sigillo.broker.supervise import Supervisor, _Running

NOBODY = Account("nobody", 65534, 65534)
BY_SIGTERM, GAVE_UP = int(signal.SIGTERM), FAILED << 8


BEGINS_SLOWLY = """\
import signal, time
time.sleep(0.2)
signal.signal(signal.SIGTERM, lambda *_: exit(0))
signal.pause()
"""


def make() -> Supervisor:
    return Supervisor(Accounts(NOBODY, NOBODY, "a test"), os.open("/dev/null", os.O_RDONLY), lambda _event: None)


def judged(*, broker: int, launcher: int, asked: bool, started: bool = False) -> bool:
    """Whether a run with these ends (as of `waitpid`) went well."""
    supervisor = make()
    supervisor._stop_requested, supervisor._started = asked, started
    for name, status in (("broker", broker), ("launcher", launcher)):
        supervisor._running[name] = _Running(Child(name, 0), status=status)
    supervisor._judge([])
    return not supervisor._failed


def test_a_broker_that_has_just_started_is_not_killed_by_its_stop() -> None:
    supervisor = make()
    with subprocess.Popen([sys.executable, "-c", BEGINS_SLOWLY]) as broker:
        supervisor._running["broker"] = _Running(Child("broker", broker.pid))
        supervisor._stop("broker")
        assert supervisor._running["broker"].status == 0
        broker.returncode = 0  # it was waited for


def test_a_stop_early_in_a_start_is_no_failure() -> None:
    """SIGTERM kills a broker that has no handler yet, and its launcher waits for the plugin in vain."""
    assert judged(broker=BY_SIGTERM, launcher=GAVE_UP, asked=True)
    assert judged(broker=BY_SIGTERM, launcher=0, asked=True, started=True)
    assert judged(broker=0, launcher=GAVE_UP, asked=True)


@pytest.mark.parametrize(
    ("broker", "launcher", "asked", "started"),
    [
        (BY_SIGTERM, GAVE_UP, False, False),
        (BY_SIGTERM, 1 << 8, True, False),  # a mistake of ours
        (BY_SIGTERM, GAVE_UP, True, True),  # the epoch's end could not be stored
        (1 << 8, GAVE_UP, True, False),  # it failed by itself
        (int(signal.SIGKILL), 0, True, True),
    ],
)
def test_other_bad_ends_are_failures(broker: int, launcher: int, asked: bool, started: bool) -> None:
    assert not judged(broker=broker, launcher=launcher, asked=asked, started=started)
