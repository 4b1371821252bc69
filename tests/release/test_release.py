"""The plugin on the Mosquitto of Debian 13 (2.0) and of Debian unstable (2.1): it builds there, marks, and refuses."""

from __future__ import annotations

import contextlib
import shutil
import signal
from collections.abc import Iterator

import pytest

from sigillo.core.epoch import EndReason
from tests.plugin.launcher import PATIENCE_S, Broker, is_root
from tests.plugin.peer import Peer

from .root import Root, root

pytestmark = pytest.mark.slow

NOT_AUTHORISED, QUOTA_EXCEEDED = 0x87, 0x97
SERIES = {"trixie": (2, 0), "sid": (2, 1)}


@pytest.fixture(scope="module", params=SERIES)
def release(request: pytest.FixtureRequest) -> Iterator[Root]:
    missing = [name for name in ("apt-get", "mmdebstrap", "mosquitto_passwd") if not shutil.which(name)]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    if not is_root():
        pytest.skip("only root may install a system into a folder and run it there")
    with root(request.param) as made:
        made.build()
        assert made.version >= SERIES[request.param]
        yield made


@contextlib.contextmanager
def running(release: Root, **settings: object) -> Iterator[Broker]:
    with contextlib.closing(release.broker(**settings)) as made:
        yield made.start()


def test_message_is_delivered_with_a_mark_that_verifies(release: Root) -> None:
    with running(release) as made:
        assert "mosquitto version " + ".".join(map(str, release.version)) in made.log
        with Peer(made.port, "publisher") as publisher, Peer(made.port, "reader") as reader:
            reader.subscribe("#")
            assert publisher.publish("m/t", b"1", qos=1, UserProperty=[("k", "v"), ("time-mark", "forged")]) == 0
            assert publisher.publish("other", b"2") == 0
            marked, unmarked = reader.take(2)
        made.check([marked.mark()])
        assert marked.user_properties[0] == ("k", "v")
        assert unmarked.carriers == []
        assert [signed.object_hash for signed in made.spooled_marks()] == [marked.mark().object_hash]
        assert made.signal(signal.SIGTERM) == 0
        assert made.end().reason is EndReason.STOP


def test_refusals_say_what_this_version_can_say(release: Root) -> None:
    refused = NOT_AUTHORISED if release.version < (2, 1) else QUOTA_EXCEEDED
    with running(release, users=("ann", "bob"), max_principals=1) as made:
        port = made.port
        with Peer(port, "a", user="ann") as ann, Peer(port, "b", user="bob") as bob:
            ann.subscribe("#")
            assert ann.publish("m/t", b"1") == 0
            assert ann.publish("sigillo/x", b"2") == NOT_AUTHORISED
            assert bob.publish("m/t", b"3") == refused  # the table of principals is full
            with Peer(port, "c", v5=False, user="bob") as old:
                old.send("m/t", b"4")
                assert old.disconnected.get(timeout=PATIENCE_S)  # a bare PUBACK would read as success
            assert ann.publish("m/t", b"5") == 0
            assert [message.payload for message in ann.take(2)] == [b"1", b"5"]
