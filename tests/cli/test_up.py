"""`sigillo up` with the real broker and the real plugin, as an operator (or an accident) meets it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sigillo.broker.clock import is_synchronised
from sigillo.broker.folder import OperatorFolder
from sigillo.broker.settings import load
from sigillo.core.checkpoint import decode_checkpoint, verify_checkpoint
from sigillo.core.entry import Kind
from sigillo.core.epoch import decode_epoch_end, decode_statement
from sigillo.core.note import LogKey
from sigillo.core.statement import Carrier, Durability, HowEnded, PrincipalSource
from sigillo.core.timestamp import verify_token
from sigillo.log.anchor import AnchorReader
from sigillo.log.public import PublicLog
from sigillo.tsa.folder import LocalTsa
from sigillo.tsa.server import TsaServer

from ..port import free_port
from ..tsa.local import running

CHECKOUT = Path(__file__).resolve().parents[2]
PLUGIN = CHECKOUT / "build" / "plugin" / "sigillo.so"
MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
SIGILLO = [sys.executable, "-m", "sigillo.cli.main"]
PATIENCE_S = 60.0

pytestmark = pytest.mark.skipif(
    not PLUGIN.exists() or MOSQUITTO is None, reason="needs Mosquitto and the plugin: make setup plugin"
)


class Up:
    """One operator folder, and `sigillo up --json` on it while it runs."""

    def __init__(self, path: Path) -> None:
        self.folder = OperatorFolder.at(path)
        self.port = free_port()
        self.http = ""  # where the log is served
        self.log = path.parent / f"{path.name}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def command(self, *options: object) -> list[str]:
        always = ["up", self.folder.path, "--name", "localhost", "--listen", f"127.0.0.1:{self.port}"]
        return [*SIGILLO, *map(str, (*always, "--plugin", PLUGIN, "--http", self.http, *options))]

    def start(self, *options: object, until: str = "archive-linked") -> None:
        self.log.write_bytes(b"")
        with self.log.open("ab") as log:
            command = self.command("--on-bad-clock", "mark-unsynchronised", "--json", *options)
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        self.wait_for(until)

    def run(self, *options: object, expect: int) -> str:
        """One that is to end by itself; its output."""
        done = subprocess.run(self.command(*options), capture_output=True, text=True, timeout=PATIENCE_S)
        assert "Traceback" not in done.stdout + done.stderr
        assert done.returncode == expect, done.stdout + done.stderr
        return done.stdout + done.stderr

    def events(self, name: str = "") -> list[dict[str, Any]]:
        lines = [line for line in self.log.read_text().splitlines() if line.startswith("{") and line.endswith("}")]
        return [event for event in map(json.loads, lines) if name in ("", event["event"])]

    def wait_for(self, name: str, count: int = 1) -> None:
        self.wait(lambda: len(self.events(name)) >= count)

    def wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)

    def end(self, expect: int) -> None:
        """Wait for the end of `up`, and see that nothing of it is left."""
        assert self.process is not None
        left = self.pids()  # some may have ended, so that nobody can tell whose they are
        assert self.process.wait(PATIENCE_S) == expect, self.log.read_text()
        self.process = None
        assert not any(Path(f"/proc/{pid}").exists() for pid in left)
        assert "Traceback" not in self.log.read_text()

    def stop(self, number: signal.Signals = signal.SIGTERM, expect: int = 0) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        self.end(expect)

    def pids(self) -> list[int]:
        """Process ids of the children that have not ended, or nobody has seen end, in the order of their start."""
        assert self.process is not None
        try:
            listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return []
        return [int(pid) for pid in listed.split()]

    def children(self) -> dict[str, int]:
        """Process ids by role, while all live."""
        broker = self.events("broker-started")[-1]["pid"]
        # forked in this order: log, server and anchors where there are any, launcher, broker, archive; a later epoch's
        # launcher and broker come after the archive
        log, *others = [pid for pid in self.pids() if pid != broker]
        served = {"server": others.pop(0)} if self.http else {}
        served |= {"anchors": others.pop(0)} if load(self.folder.settings).tsa else {}
        archive, launcher = (others[1], others[0]) if len(self.events("restarting")) == 0 else (others[0], others[1])
        return {"broker": broker, "launcher": launcher, "archive": archive, "log": log, **served}

    def kill(self, role: str) -> None:
        os.kill(self.children()[role], signal.SIGKILL)


@pytest.fixture
def up() -> Iterator[Up]:
    folder = Path(tempfile.mkdtemp(prefix="sigillo-up-"))
    folder.chmod(0o755)  # the broker's user has to get in
    made = Up(folder / "operator")
    yield made
    if made.process is not None and made.process.poll() is None:
        made.process.kill()
        made.process.wait()
    shutil.rmtree(folder, ignore_errors=True)


def statement(up: Up, number: int) -> Any:
    return decode_statement((up.folder.epochs / f"{number:010}.cose").read_bytes()).statement


def test_it_starts_states_what_runs_and_stops(up: Up) -> None:
    up.start()
    up.stop(signal.SIGINT)
    names = [event["event"] for event in up.events()]
    for before, after in (("written", "ready"), ("ready", "broker-started"), ("started", "archive-linked")):
        assert names.index(before) < names.index(after)
    stated = statement(up, 1)
    assert stated.principal_source is PrincipalSource.CERT_CN
    assert stated.previous is None
    assert stated.separated is up.events("accounts")[0]["separated"]
    end = decode_epoch_end((up.folder.epochs / "0000000001.end.cose").read_bytes())
    assert up.events("ended")[0]["clean"] is True
    assert end.end.last_sequence == 0
    assert up.events("stopped")[0]["well"] is True


def test_a_second_run_changes_no_file_and_continues_the_chain(up: Up) -> None:
    up.start()
    up.stop()
    conf = up.folder.broker_configuration
    conf.write_text(conf.read_text() + "# mine\n")
    unchanged = [
        up.folder.settings,
        conf,
        up.folder.access_list,
        *up.folder.tls.iterdir(),
        *up.folder.authority.iterdir(),
    ]
    before = [path.read_bytes() for path in unchanged]
    key = (up.folder.log / "log.vkey").read_bytes()
    up.start()
    up.stop()
    assert [path.read_bytes() for path in unchanged] == before
    assert (up.folder.log / "log.vkey").read_bytes() == key
    first, second = statement(up, 1), statement(up, 2)
    assert second.previous.ended is HowEnded.CLEAN
    assert second.configuration_hash != first.configuration_hash
    assert up.folder.published.read_text().count(second.configuration_hash.hex()) == 1
    assert up.folder.published.read_text().count(first.configuration_hash.hex()) == 1


def test_carriers_limits_and_bridges_are_stated(up: Up) -> None:
    given = ("--filter", "a/#", "--filter", "b/+", "--carrier", "datagram", "--raw-tokens", "--max-rate", "100")
    given += ("--max-payload", "4096", "--bridge-principal", "south", "--bridge-principal", "north")
    up.start(*given)
    up.stop()
    up.start(*given)
    up.stop()
    up.start()
    up.stop()
    for number in (1, 2, 3):
        stated = statement(up, number)
        carriers = [(marked.topic_filter, marked.carrier) for marked in stated.filters]
        assert carriers == [("a/#", Carrier.DATAGRAM), ("b/+", Carrier.DATAGRAM)]
        assert stated.token_key is not None
        assert stated.bridge_principals == ("north", "south")
    assert "filters is a/# (datagram), b/+ (datagram)" in up.run("--carrier", "topic", expect=2)


def test_a_raw_token_needs_a_datagram(up: Up) -> None:
    said = up.run("--on-bad-clock", "mark-unsynchronised", "--raw-tokens", expect=2)
    assert "options: raw_tokens needs a filter with the carrier datagram" in said
    assert not up.folder.path.exists()


def test_two_on_one_folder_are_refused(up: Up) -> None:
    up.start()
    assert "another `sigillo up` runs on this folder" in up.run(expect=2)
    up.stop()


def test_an_option_that_contradicts_the_folder_is_refused(up: Up) -> None:
    up.start()
    up.stop()
    assert f"{up.folder.settings}: operator is localhost" in up.run("--operator", "Other", expect=2)


@pytest.mark.skipif(is_synchronised(), reason="this machine's clock is synchronised")
def test_an_unsynchronised_clock_is_refused_and_the_option_named(up: Up) -> None:
    assert "--on-bad-clock mark-unsynchronised" in up.run(expect=2)
    assert not up.folder.path.exists()


def test_a_folder_of_something_else_is_left_alone(up: Up) -> None:
    up.folder.path.mkdir()
    (up.folder.path / "letter.txt").write_text("dear")
    assert "is no operator folder" in up.run("--on-bad-clock", "mark-unsynchronised", expect=2)
    assert [path.name for path in up.folder.path.iterdir()] == ["letter.txt"]


def test_a_reader_that_goes_away_stops_it_in_order(up: Up) -> None:
    command = up.command("--on-bad-clock", "mark-unsynchronised", "--json")
    up.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert up.process.stdout is not None
    for line in up.process.stdout:
        if b'"archive-linked"' in line:  # before, the broker may have no handler for SIGTERM yet
            break
    up.process.stdout.close()
    up.process.send_signal(signal.SIGHUP)  # gives it something to say
    assert up.process.wait(PATIENCE_S) != 0
    assert (up.folder.epochs / "0000000001.end.cose").exists()


def test_another_plugin_is_not_taken_silently(up: Up) -> None:
    up.start()
    up.stop()
    other = up.folder.path.parent / "other.so"
    other.write_bytes(PLUGIN.read_bytes() + b"\0")
    assert "--update-plugin" in up.run("--plugin", other, expect=2)
    up.start("--plugin", other, "--update-plugin")
    up.stop()
    assert statement(up, 2).plugin_hash != statement(up, 1).plugin_hash


def test_a_configuration_that_cannot_be_stated_is_refused(up: Up) -> None:
    up.start()
    up.stop()
    conf = up.folder.broker_configuration
    conf.write_text(conf.read_text() + "allow_anonymous true\ninclude_dir /etc/mosquitto/conf.d\n")
    assert "`include_dir`" in up.run(expect=2)


def test_a_port_in_use_is_said_and_the_epoch_number_not_used_again(up: Up) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", up.port))
        holder.listen()
        said = up.run("--on-bad-clock", "mark-unsynchronised", expect=1)
    assert "Address already in use" in said
    up.start()
    up.stop()
    assert up.events("started")[0]["epoch"] == 2
    assert statement(up, 2).previous.ended is HowEnded.UNCLEAN


@pytest.mark.parametrize("of", ["broker", "up"])
def test_a_reload_starts_a_new_epoch(up: Up, of: str) -> None:
    """Whoever gets the SIGHUP: `up` passes it on."""
    up.start()
    assert up.process is not None
    os.kill(up.children()["broker"] if of == "broker" else up.process.pid, signal.SIGHUP)
    up.wait_for("archive-linked", 2)
    up.stop()
    assert [event["reason"] for event in up.events("ended")] == ["reload", "stop"]
    assert statement(up, 2).previous.ended is HowEnded.CLEAN


def test_a_reload_in_the_middle_of_the_start_is_no_end(up: Up) -> None:
    """Everything will be read in a moment anyway."""
    up.folder.path.mkdir()
    os.mkfifo(up.folder.settings)
    settings: list[int] = []

    def is_read() -> bool:
        """Whether `up` has opened the settings, and waits for what they say."""
        with contextlib.suppress(OSError):  # nobody reads yet
            settings.append(os.open(up.folder.settings, os.O_WRONLY | os.O_NONBLOCK))
        return bool(settings)

    with up.log.open("wb") as log:
        process = up.process = subprocess.Popen(up.command(), stdout=log, stderr=log)
    up.wait(lambda: is_read() or process.poll() is not None)
    process.send_signal(signal.SIGHUP)
    os.write(settings[0], b"no settings")
    os.close(settings[0])
    assert process.wait(PATIENCE_S) == 2, up.log.read_text()
    assert "sigillo.toml" in up.log.read_text()


def test_many_reloads_at_once_kill_nothing(up: Up) -> None:
    """A broker that has just started would die of the signal: one that comes early waits."""
    up.start()
    assert up.process is not None
    while len(up.events("started")) < 4:
        up.process.send_signal(signal.SIGHUP)
        time.sleep(0.01)
    up.stop()  # at whatever it is just then
    *earlier, last = [event["reason"] for event in up.events("ended")]
    assert len(earlier) + 1 == len(up.events("started"))
    assert set(earlier) == {"reload"} and last in ("reload", "stop")
    assert up.events("child-died") == []


@pytest.mark.parametrize("moment", ["broker-started", "started"])
def test_a_stop_early_in_a_start_still_ends_the_epoch(up: Up, moment: str) -> None:
    """The broker may have no handler for SIGTERM yet: it gets the time."""
    up.start(until=moment)
    up.stop()
    assert [(event["reason"], event["clean"]) for event in up.events("ended")] == [("stop", True)]
    assert (up.folder.epochs / "0000000001.end.cose").exists()


@pytest.mark.parametrize(
    ("role", "ended"),
    [
        ("broker", HowEnded.UNCLEAN),
        ("launcher", HowEnded.CLEAN),
        ("archive", HowEnded.CLEAN),
        ("log", HowEnded.CLEAN),
    ],
)
def test_kill_9_of_a_part_stops_the_rest_and_the_next_start_knows(up: Up, role: str, ended: HowEnded) -> None:
    up.start()
    up.kill(role)
    up.end(expect=1)
    died = [event for event in up.events("child-died") if event["child"] == role]
    assert died[0]["how"] == "killed by SIGKILL"
    up.start()
    up.stop()
    assert statement(up, 2).previous.ended is ended
    assert (up.folder.epochs / "0000000001.end.cose").exists() is (ended is HowEnded.CLEAN)


def test_kill_9_of_up_itself_leaves_no_orphan(up: Up) -> None:
    up.start()
    children = up.children()
    assert up.process is not None
    up.process.kill()
    up.process.wait()
    up.wait(lambda: not any(is_running(pid) for pid in children.values()))
    up.start()
    up.stop()
    assert statement(up, 2).previous.ended is HowEnded.CLEAN, "the launcher waited for the broker's end"


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_broker_that_somebody_else_stops_is_reported(up: Up) -> None:
    up.start()
    os.kill(up.children()["broker"], signal.SIGTERM)
    up.end(expect=1)
    assert up.events("child-died")[0]["child"] == "broker"
    assert up.events("ended")[0]["clean"] is True


def test_a_plugin_that_cannot_be_loaded_is_reported(up: Up) -> None:
    broken = up.folder.path.parent / "broken.so"
    broken.write_bytes(b"not a plugin")
    said = up.run("--on-bad-clock", "mark-unsynchronised", "--plugin", broken, expect=1)
    assert "plugin/sigillo.so" in said
    assert not list(up.folder.epochs.glob("*.cose"))
    assert not up.folder.published.exists()


def test_people_are_told_what_happens(up: Up) -> None:
    command = up.command("--on-bad-clock", "mark-unsynchronised")
    with up.log.open("wb") as log:
        up.process = subprocess.Popen(command, stdout=log, stderr=log)
    up.wait(lambda: "listening; the archive is connected" in up.log.read_text())
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(PATIENCE_S) == 0
    said = up.log.read_text()
    for words in ("log key localhost/log+", "epoch 1 started, id ", "executable     sha256", "epoch 1 ended (stop)"):
        assert words in said
    assert ("NOT SEPARATED" in said) is not statement(up, 1).separated


def get(up: Up, path: str) -> bytes:
    with urllib.request.urlopen(f"http://{up.http}{path}", timeout=PATIENCE_S) as answer:
        return bytes(answer.read())


def test_the_log_is_served_and_ends_with_the_brokers_end(up: Up) -> None:
    up.http = f"127.0.0.1:{free_port()}"
    up.start("--durability", "strict")
    assert up.events("serving")[0]["url"] == f"http://{up.http}/"
    log_key = LogKey.from_vkey((up.folder.log / "log.vkey").read_text().strip())
    served = verify_checkpoint(decode_checkpoint(get(up, "/checkpoint")), log_key)
    assert get(up, f"/tile/entries/000.p/{served.size}")
    facts = json.loads(get(up, "/build"))
    started = up.events("started")[0]
    assert facts["binary_hash"] == started["executable"]
    assert (facts["epoch_id"], facts["operator"], facts["source_commit"]) == (started["epoch_id"], "localhost", None)
    if os.geteuid() == 0:
        owners = {role: Path(f"/proc/{pid}").stat().st_uid for role, pid in up.children().items()}
        assert owners["server"] not in (0, owners["log"])
    up.stop()
    log = PublicLog(up.folder.log / "public")
    assert log.find(Kind.EPOCH_STATEMENT, 1, 0) == 0
    assert log.find(Kind.EPOCH_END, 1, 0) is not None
    assert statement(up, 1).durability is Durability.STRICT
    assert up.events("logged")[-1]["size"] == log.size


@pytest.fixture
def tsa(tmp_path: Path) -> Iterator[tuple[LocalTsa, str]]:
    """A local time-stamp authority, and where it answers."""
    made = LocalTsa.open(tmp_path / "tsa")
    with running(TsaServer("127.0.0.1:0", made)) as url:
        yield made, url


def test_the_log_is_anchored_and_its_end_too(up: Up, tsa: tuple[LocalTsa, str]) -> None:
    authority, url = tsa
    down = "http://127.0.0.1:1/"
    up.start("--tsa", url, "--tsa", down, "--anchor-interval", 1)
    up.wait_for("anchored", 2)
    up.stop()
    anchors = list(AnchorReader(up.folder.log).anchors())
    log = PublicLog(up.folder.log / "public")
    for anchor in anchors:
        assert verify_token(anchor.token, anchor.note_bytes, authority.trust, anchor.chain).gen_time_ns > 0
        assert log.entry(anchor.index).kind is Kind.TOKEN
    kinds = [entry.kind for entry in log.entries(0, anchors[-1].size)]
    assert Kind.EPOCH_END in kinds, "the last token covers the broker's end"
    assert [event["index"] for event in up.events("anchored")] == [anchor.index for anchor in anchors]
    assert [event["url"] for event in up.events("tsa-down")] == [down]
    assert stat.S_IMODE((up.folder.log / "anchors").stat().st_mode) == 0o700
    run = subprocess.run([*SIGILLO, "log", "fsck", str(up.folder.path)], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_revocation_list_that_is_named_is_kept_with_the_tokens(up: Up, tsa: tuple[LocalTsa, str]) -> None:
    authority, url = tsa
    up.start("--tsa", url, "--tsa-crl", f"{url}crl", "--anchor-interval", 1)
    up.wait_for("anchored", 1)
    up.stop()
    for anchor in AnchorReader(up.folder.log).anchors():
        assert anchor.crls == (authority.crl,)
        verified = verify_token(anchor.token, anchor.note_bytes, authority.trust, anchor.chain, anchor.crls)
        assert verified.revocation_ns is not None
    for options, reason in (
        (("--tsa", url, "--tsa-crl", "/elsewhere"), "leave the option out"),
        (("--tsa-crl", "/elsewhere"), "needs one --tsa"),
    ):
        command = [*SIGILLO, "up", str(up.folder.path), *options]
        run = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert run.returncode == 2 and reason in run.stderr


@pytest.mark.parametrize("role", ["anchors", "log"])
def test_kill_9_loses_no_token_that_was_logged(up: Up, tsa: tuple[LocalTsa, str], role: str) -> None:
    options = ("--tsa", tsa[1], "--anchor-interval", 1)
    up.start(*options)
    up.wait_for("anchored")
    up.kill(role)
    up.end(expect=1)
    assert [event["child"] for event in up.events("child-died")][-1:] == [role]
    up.start(*options)
    up.wait_for("anchored")
    up.stop()
    log = PublicLog(up.folder.log / "public")
    tokens = [index for index, entry in enumerate(log.entries(0, log.size)) if entry.kind is Kind.TOKEN]
    assert [anchor.index for anchor in AnchorReader(up.folder.log).anchors()] == tokens


def test_certificates_that_cannot_be_read_stop_the_start(up: Up, tmp_path: Path) -> None:
    up.start("--tsa", "http://127.0.0.1:1/")
    up.stop()
    text = up.folder.settings.read_text()
    up.folder.settings.write_text(text.replace('url = "http', f'certificates = "{tmp_path}/none.pem", url = "http'))
    assert "it is the setting certificates of 127.0.0.1:1" in up.run("--on-bad-clock", "mark-unsynchronised", expect=2)


def test_an_address_that_is_taken_is_named_before_anything_starts(up: Up) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        up.http = f"127.0.0.1:{holder.getsockname()[1]}"
        said = up.run("--on-bad-clock", "mark-unsynchronised", expect=2)
    assert f"{up.http}: the log cannot be served there" in said
    assert not list(up.folder.epochs.glob("*.cose"))


def test_a_log_that_cannot_take_the_end_is_reported(up: Up) -> None:
    up.start()
    checkpoint = up.folder.log / "public" / "checkpoint"
    checkpoint.write_bytes(checkpoint.read_bytes() + b"\n")
    up.stop(expect=1)
    died = up.events("child-died")[0]
    assert died["child"] == "log"
    assert "another hand has changed it" in died["lines"][0]
    assert up.events("stopped")[0]["well"] is False


def test_a_log_that_is_gone_is_not_begun_anew(up: Up) -> None:
    up.start()
    up.stop()
    shutil.rmtree(up.folder.log / "public")
    said = up.run("--on-bad-clock", "mark-unsynchronised", expect=2)
    assert "log/public/checkpoint: is gone, but epochs were stated" in said
    assert len(list(up.folder.epochs.glob("*.cose"))) == 2, "a statement and its end"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_as_root_the_parts_run_as_their_users(up: Up) -> None:
    up.start()
    owners = {role: Path(f"/proc/{pid}").stat().st_uid for role, pid in up.children().items()}
    status = {role: Path(f"/proc/{pid}/status").read_text() for role, pid in up.children().items()}
    for text in status.values():
        assert "NoNewPrivs:\t1" in text
        assert "\nGroups:\t \n" in text
    uids = {role: text.partition("\nUid:\t")[2].split("\n")[0].split("\t") for role, text in status.items()}
    assert all(uid != "0" for four in uids.values() for uid in four), owners
    separated = up.events("accounts")[0]["separated"]
    assert (uids["broker"] != uids["launcher"]) is separated
    assert uids["archive"] == uids["launcher"]
    assert Path(f"/proc/{up.children()['broker']}/environ").read_bytes() == b""
    broker_uid = int(uids["broker"][0])
    key = up.folder.log / "log.key.pem"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert (key.stat().st_uid == broker_uid) is not separated
    assert up.folder.spool.stat().st_uid == broker_uid
    segment = next((up.folder.spool / "0000000001").glob("*.spool"))
    assert (segment.stat().st_uid, segment.stat().st_gid) == (broker_uid, up.folder.spool.stat().st_gid)
    up.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_as_root_a_folder_that_the_broker_cannot_enter_is_refused(up: Up) -> None:
    up.folder.path.parent.chmod(0o700)
    assert "the broker does not run as root" in up.run("--on-bad-clock", "mark-unsynchronised", expect=2)
    assert not up.folder.path.exists()


def run_sigillo(*arguments: object) -> str:
    return subprocess.run(
        [*SIGILLO, *map(str, arguments)], check=True, capture_output=True, text=True, timeout=PATIENCE_S
    ).stdout


@pytest.mark.parametrize("role", ["archive", "launcher"])
def test_kill_9_under_load_leaves_evidence_without_a_hole(up: Up, tmp_path: Path, role: str) -> None:
    """What was sent is archived in the end, and the chain of two epochs verifies; the tracker never stops trying."""
    up.start()
    crate = tmp_path / "crate-1"
    run_sigillo("device", "new", "crate-1", "--key", "ed25519", "-o", crate)
    run_sigillo("device", "add", up.folder.path, crate)
    options = ["--broker", f"127.0.0.1:{up.port}", "--count", "60", "--interval", "0.02", "--patience", "60"]
    load = subprocess.Popen([*SIGILLO, "device", "simulate", str(crate), *options], stdout=subprocess.DEVNULL)
    up.wait(lambda: any(event["stored"] for event in up.events("archived")))
    up.kill(role)
    up.end(expect=1)
    up.start()
    assert load.wait(PATIENCE_S) == 0
    evidence, policy = tmp_path / "evidence.jsonl", tmp_path / "policy.toml"
    store = ("evidence", "--store", up.folder.path, "--device", "crate-1", "-o", evidence, "--force", "--json")
    up.wait(lambda: json.loads(run_sigillo(*store))["messages"] >= 60)
    up.stop()
    trust = ("policy", "new", "--operator", up.folder.published, "--device", f"crate-1={crate / 'signing.pub.pem'}")
    alone = ("--allow-unanchored", "--allow-unwitnessed", "--allow-no-beacon")
    run_sigillo(*trust, "--allow-unsynchronised", "--allow-unknown-bound", *alone, "-o", policy)
    assert json.loads(run_sigillo("verify", evidence, "--policy", policy, "--json"))["verified"] is True
