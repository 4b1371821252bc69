"""Why Sigillo's plugin has to be the first: one before it decides which messages it sees."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .launcher import broker
from .peer import Peer

SWALLOWS = r"""
#include <stddef.h>
#include <mosquitto.h>
#include <mosquitto_broker.h>
#include <mosquitto_plugin.h>

static mosquitto_plugin_id_t *self;

static int refuse(int event, void *message, void *user)
{
	(void)event, (void)message, (void)user;
	return MOSQ_ERR_ACL_DENIED;
}

int mosquitto_plugin_version(int count, const int *versions)
{
	(void)count, (void)versions;
	return 5;
}

int mosquitto_plugin_init(mosquitto_plugin_id_t *id, void **user, struct mosquitto_opt *options, int count)
{
	(void)user, (void)options, (void)count;
	self = id;
	return mosquitto_callback_register(id, MOSQ_EVT_MESSAGE, refuse, NULL, NULL);
}

int mosquitto_plugin_cleanup(void *user, struct mosquitto_opt *options, int count)
{
	(void)user, (void)options, (void)count;
	return mosquitto_callback_unregister(self, MOSQ_EVT_MESSAGE, refuse, NULL);
}
"""
"""A plugin that refuses every message."""


@pytest.fixture(scope="module")
def other() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="sigillo-other-"))
    folder.chmod(0o755)
    (folder / "other.c").write_text(SWALLOWS)
    command = ["cc", "-shared", "-fPIC", folder / "other.c", "-o", folder / "other.so"]
    subprocess.run(command, check=True)
    yield folder / "other.so"
    shutil.rmtree(folder)


def test_the_first_plugin_sees_what_another_swallows(other: Path) -> None:
    with broker(more=(f"plugin {other}",)) as made:
        made.start()
        with Peer(made.port, "a") as peer:
            assert peer.publish("m/t", b"1") != 0
        assert [signed.mark.topic for signed in made.spooled_marks()] == ["m/t"], "refused, and marked"


def test_behind_another_it_sees_nothing(other: Path) -> None:
    """Rule plugin-first (spec/rule.md): its listener is marked by name, and no message of it ever is."""
    with broker(listener=(f"plugin {other}",)) as made:
        made.start()
        with Peer(made.port, "a") as peer:
            assert peer.publish("m/t", b"1") != 0
        assert made.spooled_marks() == []
