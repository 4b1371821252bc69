"""Brokers to measure: Mosquitto on loopback, bare or with the plugin, and this process as its launcher."""

from __future__ import annotations

import ctypes
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from sigillo.core import handshake, statement
from sigillo.core.mark import Checkpoint

MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin") or "mosquitto"
PATIENCE_S = 20
SEGMENT_SIZE = 8 * 1024 * 1024  # as `sigillo up` has it
CONFIGURATION = """\
listener {port} 127.0.0.1
allow_anonymous true
log_dest stderr
log_type error
log_type warning
max_inflight_messages 0
max_queued_messages 100000
"""


class Broker:
    """A running Mosquitto in a folder of its own. Without *rule* it is bare: the same configuration, no plugin."""

    def __init__(self, plugin: Path, rule: statement.MarkedFilter | None = None, *, raw_tokens: bool = False) -> None:
        """Start, and shake hands with the plugin. Raises SystemExit where the broker does not come up."""
        self._folder = Path(tempfile.mkdtemp(prefix="sigillo-bench-"))
        self._folder.chmod(0o777)  # started by root, Mosquitto is another user
        self.port = _free_port()
        configuration = self._folder / "mosquitto.conf"
        lines = CONFIGURATION.format(port=self.port) + (f"plugin {self._folder}/sigillo.so\n" if rule else "")
        shutil.copy(plugin, self._folder / "sigillo.so")
        configuration.write_text(lines, encoding="utf-8")
        self._launcher, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._launcher.settimeout(PATIENCE_S)
        with theirs:
            self._process = subprocess.Popen([MOSQUITTO, "-c", str(configuration)], stdin=theirs.fileno())
        try:
            if rule:
                self._shake_hands(rule, raw_tokens)
            self._wait()
        except BaseException:
            self.close()
            raise

    def cpu_s(self) -> float:
        """User and system time of the broker's process so far, to the nanosecond: clock_getcpuclockid(3)."""
        clock = ctypes.c_int()
        if ctypes.CDLL(None).clock_getcpuclockid(self._process.pid, ctypes.byref(clock)) != 0:
            raise SystemExit("bench: a broker has died; its log is above")
        return time.clock_gettime(clock.value)

    def drop_spool(self) -> None:
        """Remove the segments that are full: many rounds would fill the disk."""
        for path in sorted(self._folder.glob("*/*.spool"))[:-2]:  # the last two: one in use, one ready
            path.unlink()

    def close(self) -> None:
        """End the broker and remove its folder."""
        self._process.terminate()
        self._process.wait(PATIENCE_S)
        self._launcher.close()
        shutil.rmtree(self._folder)

    def _shake_hands(self, rule: statement.MarkedFilter, raw_tokens: bool) -> None:
        run_time = handshake.RunTime(
            spool_folder=str(self._folder),
            segment_size=SEGMENT_SIZE,
            max_principals=1000,
            clock_bound_meaningful=True,
            raw_tokens=raw_tokens,
        )
        self._launcher.send(handshake.encode_packet(handshake.State(_fields(rule), run_time)))
        packet = handshake.decode_packet(self._launcher.recv(handshake.MAX_PACKET))
        if not isinstance(packet, handshake.Statement):
            raise SystemExit("bench: the plugin sent no statement")
        self._launcher.send(handshake.encode_packet(handshake.Go(packet.decode().epoch_id)))

    def _wait(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while self._process.poll() is None and time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise SystemExit("bench: the broker does not listen; its log is above")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _fields(rule: statement.MarkedFilter) -> statement.StatementFields:
    """A statement that vouches for nothing: nobody countersigns it."""
    return statement.StatementFields(
        number=1,
        previous=None,
        clock_daemon="none",
        clock_authenticated=False,
        clock_correction_ns=0,
        on_bad_clock=statement.OnBadClock.MARK_UNSYNCHRONISED,
        durability=statement.Durability.BUFFERED,
        operator="bench",
        log_origin="bench.example/log",
        log_key_id=bytes(32),
        log_checkpoint=Checkpoint(),
        executable_hash=bytes(32),
        plugin_hash=bytes(32),
        configuration_hash=bytes(32),
        manifest_hash=None,
        filters=(rule,),
        principal_source=statement.PrincipalSource.UNAUTHENTICATED,
        unmarked_paths=("will",),
        tls_keys=(),
        attester=None,
        separated=False,
    )
