"""A real Mosquitto with the plugin, and the test as its launcher on fd 0 (spec/handshake.md)."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from sigillo.core import handshake, statement
from sigillo.core.cose import verify_ed25519
from sigillo.core.entry import Kind
from sigillo.core.epoch import EpochEnd, SignedStatement, decode_epoch_end
from sigillo.core.mark import Checkpoint, SignedMark, decode_mark
from sigillo.core.spool import Segment, decode_segment

from ..port import free_port

CHECKOUT = Path(__file__).resolve().parents[2]
PLUGIN = CHECKOUT / "build" / "plugin" / "sigillo.so"
MOSQUITTO = "/usr/sbin/mosquitto"
PATIENCE_S = 20
FIELDS = statement.StatementFields(
    number=1,
    previous=None,
    clock_daemon="none",
    clock_authenticated=False,
    clock_correction_ns=0,
    on_bad_clock=statement.OnBadClock.MARK_UNSYNCHRONISED,
    durability=statement.Durability.BUFFERED,
    operator="Example Broker",
    log_origin="broker.example/log",
    log_key_id=bytes(32),
    log_checkpoint=Checkpoint(),
    executable_hash=bytes(32),
    plugin_hash=bytes(32),
    configuration_hash=bytes(32),
    manifest_hash=None,
    filters=(statement.MarkedFilter("m/#"),),
    principal_source=statement.PrincipalSource.UNAUTHENTICATED,
    unmarked_paths=("will",),
    tls_keys=(),
    attester=None,
    separated=False,
)


def wait_until(condition: object, what: str) -> None:
    """Call `condition` until it is true."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {PATIENCE_S} s"
        time.sleep(0.02)


@dataclass
class Broker:
    """A broker in a folder of its own. `start` does the whole handshake; `launch` none of it."""

    fields: statement.StatementFields = FIELDS
    users: tuple[str, ...] = ()
    segment_size: int = 1 << 20
    max_principals: int = 100
    per_listener: bool = False
    run_as: str | None = None
    limits: dict[str, object] = field(default_factory=dict)
    """Of the run time settings: raw_tokens, max_rate, max_payload."""
    access_list: str = ""
    """Text of an ACL file; none where empty."""
    listener: tuple[str, ...] = ()
    """More lines of the listener."""
    more: tuple[str, ...] = ()
    """More lines at the end of the configuration."""
    mosquitto: tuple[str, ...] = (MOSQUITTO,)
    """The command that starts it."""
    plugin: Path | None = PLUGIN
    """None: a broker without it."""
    parent: Path | None = None
    """Of its folder; None: where temporary files go."""
    environment: dict[str, str] = field(default_factory=dict)
    """Beside that of the test."""
    log_type: str = "all"
    folder: Path = field(init=False)
    port: int = field(init=False)
    process: subprocess.Popen[bytes] = field(init=False)
    launcher: socket.socket = field(init=False)
    signed: SignedStatement = field(init=False)

    def __post_init__(self) -> None:
        # Mosquitto drops its privileges: not pytest's tmp_path, whose parents are closed to others.
        self.folder = Path(tempfile.mkdtemp(prefix="sigillo-plugin-", dir=self.parent))
        self.folder.chmod(0o777)
        self.spool.mkdir()
        self.spool.chmod(0o777)
        if self.plugin:
            shutil.copy(self.plugin, self.folder / "sigillo.so")
        self.port = free_port()

    @property
    def spool(self) -> Path:
        return self.folder / "spool"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def state(self) -> handshake.State:
        run_time = handshake.RunTime(
            spool_folder=str(self.spool),
            segment_size=self.segment_size,
            max_principals=self.max_principals,
            clock_bound_meaningful=False,
            access_list=bool(self.access_list),
            **self.limits,
        )
        return handshake.State(self.fields, run_time)

    def _configure(self) -> Path:
        # max_queued_messages 0 is no limit, but on 2.0.11 a refused publisher is then disconnected after its PUBACK.
        lines = [
            f"per_listener_settings {str(self.per_listener).lower()}",
            "log_dest stderr",
            f"log_type {self.log_type}",
            "max_queued_messages 100000",
        ]
        lines += ["max_inflight_messages 0", f"listener {self.port} 127.0.0.1", *self.listener]
        if self.plugin:
            lines.append(f"plugin {self.folder}/sigillo.so")
        lines.append(f"allow_anonymous {'false' if self.users else 'true'}")
        if self.users:
            names = self.folder / "users"
            names.touch()
            for name in self.users:
                subprocess.run(["mosquitto_passwd", "-b", names, name, "secret"], check=True)
            names.chmod(0o644)
            lines.append(f"password_file {names}")
        if self.access_list:
            (self.folder / "acl").write_text(self.access_list)
            lines.append(f"acl_file {self.folder}/acl")
        lines += self.more
        configuration = self.folder / "mosquitto.conf"
        configuration.write_text("\n".join(lines) + "\n")
        return configuration

    def launch(self, stdin: object = None) -> None:
        """Start the process with `stdin` (a file or socket), or with one end of our socket pair."""
        command = [*self.mosquitto, "-c", str(self._configure())]
        environment = os.environ | self.environment
        self.launcher, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.launcher.settimeout(PATIENCE_S)
        with (self.folder / "log").open("wb") as log, theirs:
            chosen = theirs if stdin is None else stdin
            self.process = subprocess.Popen(
                command, stdin=chosen, stdout=log, stderr=log, user=self.run_as, env=environment
            )

    def shake_hands(self) -> None:
        self.launcher.send(handshake.encode_packet(self.state()))
        packet = handshake.decode_packet(self.launcher.recv(handshake.MAX_PACKET))
        assert isinstance(packet, handshake.Statement)
        self.signed = packet.decode()
        sign1 = self.signed.sign1
        verify_ed25519(self.signed.statement.epoch_key, sign1.signature, sign1.signed_bytes())
        assert not self.listens()  # before GO nobody can connect
        self.launcher.send(handshake.encode_packet(handshake.Go(self.signed.epoch_id)))

    def start(self) -> Broker:
        self.launch()
        if self.plugin:
            self.shake_hands()
        wait_until(lambda: self.listens() or self.process.poll() is not None, "listening")
        assert self.process.poll() is None, self.log
        return self

    def counters(self, **expected: int) -> handshake.Counters:
        """COUNTERS until they say what is *expected* (the others are not looked at); the last ones."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            found = handshake.decode_packet(self.launcher.recv(handshake.MAX_PACKET))
            assert isinstance(found, handshake.Counters)
            if all(getattr(found, name) == value for name, value in expected.items()):
                return found
        raise AssertionError(f"not within {PATIENCE_S} s: {expected}")

    def listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def ended(self) -> int:
        """Wait for the broker's end; its exit status."""
        return self.process.wait(PATIENCE_S)

    def signal(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.ended()

    def close(self) -> None:
        if hasattr(self, "process"):
            if self.process.poll() is None:
                self.process.kill()
            self.process.wait()
            self.launcher.close()
        shutil.rmtree(self.folder)

    # What the spool holds

    def segments(self) -> list[Segment]:
        found: list[Segment] = []
        for path in sorted((self.spool / f"{self.fields.number:010}").glob("*.spool")):
            found.append(decode_segment(path.read_bytes(), found[-1].last_sequence if found else None))
        return found

    def objects(self, kind: Kind) -> list[bytes]:
        return [record.object_bytes for segment in self.segments() for record in segment.records if record.kind is kind]

    def spooled_marks(self) -> list[SignedMark]:
        """Every mark of the spool, checked: signature, sequence 1…n, a chain per principal."""
        marks = [decode_mark(item) for item in self.objects(Kind.MARK)]
        self.check(marks)
        assert [signed.mark.sequence for signed in marks] == list(range(1, len(marks) + 1))
        before: dict[str, SignedMark] = {}
        for signed in marks:
            last = before.get(signed.mark.principal)
            assert signed.mark.count == (last.mark.count + 1 if last else 1)
            assert signed.mark.previous == (last.object_hash if last else self.signed.epoch_id)
            before[signed.mark.principal] = signed
        times = [signed.mark.time_ns for signed in marks]
        assert times == sorted(times)
        return marks

    def check(self, marks: list[SignedMark]) -> None:
        for signed in marks:
            verify_ed25519(self.signed.statement.epoch_key, signed.sign1.signature, signed.sign1.signed_bytes())
            assert signed.epoch_id == self.signed.epoch_id

    def end(self) -> EpochEnd:
        """The epoch end, checked against the marks before it; the spool cut to what it holds."""
        marks = self.spooled_marks()
        segments = self.segments()
        last = segments[-1]
        signed = decode_epoch_end(last.records[-1].object_bytes)
        verify_ed25519(self.signed.statement.epoch_key, signed.sign1.signature, signed.sign1.signed_bytes())
        assert signed.epoch_id == self.signed.epoch_id
        assert signed.end.last_sequence == len(marks)
        assert signed.end.last == (marks[-1].object_hash if marks else self.signed.epoch_id)
        assert last.end.offset == (self.spool / "0000000001" / f"{last.header.segment:06}.spool").stat().st_size
        assert last.end.offset < self.segment_size
        assert [segment.header.segment for segment in segments] == list(range(len(segments)))
        return signed.end


@contextlib.contextmanager
def broker(**settings: object) -> Iterator[Broker]:
    """A broker, not started, and away with it."""
    fields = replace(FIELDS, **settings.pop("fields", {}))
    made = Broker(fields=fields, **settings)
    try:
        yield made
    finally:
        made.close()


def is_root() -> bool:
    return os.geteuid() == 0
