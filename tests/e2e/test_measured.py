"""The measured launch: `sigillo up --tpm` with a real Mosquitto and a real software TPM, read as a stranger would."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sigillo.attestation import software_tpm
from sigillo.attestation.attester import Attester
from sigillo.attestation.tpm import Tpm
from sigillo.broker.account import REST_USER, find_account, own_account
from sigillo.core.attestation import AttestationEvidence, attested_entries, decode_attestation, verify_periodic
from sigillo.core.decoded import DecodedAttestation, DecodedMessage, decode_objects
from sigillo.core.entry import Kind
from sigillo.core.epoch import SignedStatement, decode_statement
from sigillo.core.launch import (
    Closure,
    Launched,
    LaunchEvent,
    Role,
    check_statement,
    decode_closure,
    decode_launch_event,
    decode_launch_log,
    verify_launch_log,
)
from sigillo.core.note import LogKey
from sigillo.core.process_rule import DEFAULT_PROCESS_RULES, appraise_process
from sigillo.core.quote import LAUNCH_PCR, Quote, Subject
from sigillo.log.public import PublicLog
from sigillo.log.store import StoreReader

from ..adversary.loader import loading_plugin
from ..attestation import rig
from .conftest import PATIENCE_S, PLUGIN, Operator, Tracker, export, sigillo, trust


@dataclass
class Measured:
    """An operator whose launches are measured into the TPM of *tpm*."""

    operator: Operator
    tpm: Path
    process: subprocess.Popen[bytes]

    def statement(self) -> SignedStatement:
        """Of the newest epoch."""
        return decode_statement(self.operator.statements()[-1].read_bytes())

    def launched(self, signed: SignedStatement) -> Launched:
        """As a stranger sees it: a quote for the epoch, by the key of its statement, and the log that leads to it."""
        attester = signed.statement.attester
        assert attester is not None
        assert isinstance(attester.name, bytes)
        subject = Subject(signed.epoch_id, signed.statement.log_checkpoint)
        quote = verify_periodic(Attester.open(Tpm(rig.link_to(self.tpm))).quote(subject), attester.name)
        return verify_launch_log((self.operator.folder / "attestation/launch.log").read_bytes(), quote.launch_pcr)

    def closure(self, launched: Launched) -> Closure:
        path = self.operator.folder / f"attestation/closures/{launched.event.closure_hash.hex()}.cbor"
        closure = decode_closure(path.read_bytes())
        assert closure.object_hash == launched.event.closure_hash
        return closure


@pytest.fixture(scope="module")
def tpm(reachable_tmp: Path) -> Path:
    """A TPM that the user of the log key can reach."""
    above = Path(tempfile.mkdtemp(dir=reachable_tmp))  # one for each file of tests that uses this
    above.chmod(0o755)
    folder = rig.made(above / "tpm")
    folder.chmod(0o711)
    return folder


@pytest.fixture
def measured(operator: Operator, tpm: Path) -> Iterator[Measured]:
    with rig.started(tpm) as process:
        socket = software_tpm.socket_of(tpm)
        rest = find_account(REST_USER)
        if os.geteuid() == 0 and rest is not None:
            os.chown(socket, rest.uid, rest.gid)
        operator.options = ("--tpm", str(socket))
        yield Measured(operator, tpm, process)
        operator.stop(expect=None)


def test_a_stranger_reads_what_was_launched(measured: Measured) -> None:
    measured.operator.start()
    signed = measured.statement()
    launched = measured.launched(signed)
    assert launched.epoch_id == signed.epoch_id
    assert (launched.event.epoch_number, launched.launches) == (1, 1)
    assert launched.event.environment == ()
    assert launched.event.command[0] == "/usr/sbin/mosquitto"
    closure = measured.closure(launched)
    check_statement(closure, signed.statement)
    assert {member.role for member in closure.members} == set(Role)
    said = measured.operator.log.read_text()
    assert Attester.open(Tpm(rig.link_to(measured.tpm))).key.name.hex() in said


def test_the_epoch_says_what_the_brokers_process_was(measured: Measured) -> None:
    measured.operator.start()
    launched = measured.launched(measured.statement())
    account = own_account() if os.geteuid() else find_account("mosquitto")
    assert account is not None
    state = launched.process
    assert (state.uid, state.gid) == (account.uid, account.gid)
    if os.geteuid() == 0:
        assert state.groups == ()
    assert (state.capabilities, state.no_new_privs, state.tracer) == (0, True, 0)
    assert (state.dumpable, state.core_limit) == (False, (0, 0))
    assert appraise_process(state, DEFAULT_PROCESS_RULES) == ()


def test_a_broker_that_loads_what_was_not_measured_never_listens(measured: Measured, reachable_tmp: Path) -> None:
    """Its plugin is a shell that loads the rest by itself; the launch stays without an epoch."""
    operator = measured.operator
    rest = Path(shutil.copy(PLUGIN, reachable_tmp / "rest.so"))
    operator.options += ("--plugin", str(loading_plugin(reachable_tmp, rest)))
    with pytest.raises(AssertionError, match=f"{rest}: mapped but not measured"):
        operator.start()
    events = decode_launch_log((operator.folder / "attestation/launch.log").read_bytes()).events
    assert [type(decode_launch_event(event)) for event in events[-1:]] == [LaunchEvent]
    assert "started" not in operator.log.read_text().replace("broker started", "")
    assert "Traceback" not in operator.log.read_text()


def test_marks_lie_between_two_quotes_and_each_epoch_has_its_own(measured: Measured) -> None:
    operator = measured.operator
    operator.start()
    tracker = Tracker("crate-1", operator.folder.parent / "crate-1").enrol(operator, "p256")
    rig.wait_until(lambda: "quoted epoch 1" in operator.log.read_text())
    tracker.publish(operator, 5)
    assert operator.process is not None
    operator.process.send_signal(signal.SIGHUP)
    rig.wait_until(lambda: "quoted epoch 2" in operator.log.read_text())
    tracker.publish(operator, 5)
    export(operator, ["crate-1"], operator.folder.parent / "so-far.jsonl", 10, "--no-wait")
    operator.stop()
    log, signed = operator.folder / "log", [decode_statement(path.read_bytes()) for path in operator.statements()]
    public = PublicLog(log / "public")
    entries = [public.entry(index) for index in range(public.size)]
    for statement in signed:
        (index, opening), *_, (_, closing) = quotes(log, statement)
        between = attested_entries(index, opening, closing)
        kinds = [entries[entry].kind for entry in between]
        assert Kind.EPOCH_END in kinds
        marks = [e.kind is Kind.MARK and e.epoch == statement.statement.number for e in entries]
        assert kinds.count(Kind.MARK) == sum(marks) >= 5  # all of them
    assert "nothing is attested" not in operator.log.read_text()
    evidence = export(operator, ["crate-1"], operator.folder.parent / "evidence.jsonl", 10)
    shown = list(decode_objects(evidence.read_bytes().splitlines()))
    kinds_shown = [type(decoded) for decoded in shown if isinstance(decoded, DecodedMessage | DecodedAttestation)]
    of_epoch = [DecodedAttestation, *5 * [DecodedMessage], DecodedAttestation]
    assert kinds_shown == 2 * of_epoch
    found = [decoded for decoded in shown if isinstance(decoded, DecodedAttestation)]
    assert [decoded.evidence.subject.epoch_id for decoded in found] == [
        statement.epoch_id for statement in signed for _ in range(2)
    ]
    policy = trust(operator, [tracker], operator.folder.parent / "policy.toml")
    sigillo("verify", evidence, "--policy", policy)
    believe(policy, signed[0])
    said = sigillo("verify", evidence, "--policy", policy)
    assert "Level launched" in said
    assert "SOFTWARE TPM" in said


def test_marking_goes_on_without_the_tpm_and_says_that_nothing_is_attested(measured: Measured) -> None:
    operator = measured.operator
    operator.options += ("--quote-interval", "1")
    operator.start()
    tracker = Tracker("crate-1", operator.folder.parent / "crate-1").enrol(operator, "p256")
    measured.process.terminate()
    rig.wait_until(lambda: "nothing is attested" in operator.log.read_text())
    tracker.publish(operator, 5)
    operator.stop()
    assert operator.log.read_text().count("nothing is attested") == 1
    public = PublicLog(operator.folder / "log/public")
    kinds = [public.entry(index).kind for index in range(public.size)]
    assert kinds.count(Kind.MARK) >= 5
    last = max(index for index, kind in enumerate(kinds) if kind is Kind.ATTESTATION_EVIDENCE)
    assert Kind.MARK not in kinds[:last]  # they have a quote before them, and none after


def believe(policy: Path, signed: SignedStatement) -> None:
    """The policy asks for level "launched", by the attestation key that a statement names, and allows software."""
    attester = signed.statement.attester
    assert attester is not None
    assert isinstance(attester.name, bytes)
    asked = policy.read_text().replace('level = "declared"', 'level = "launched"')
    pinned = f'[[attester]]\noperator = "{signed.statement.operator}"\nkey = ["{attester.name.hex()}"]\nsoftware = true'
    policy.write_text(f"{asked}\n{pinned}\n\n[attestation]\nallow_software = true\n")


def evidences(log: Path, signed: SignedStatement) -> dict[int, AttestationEvidence]:
    """The quotes of an epoch that the log has, not verified, by the index of their entry."""
    public = PublicLog(log / "public")
    key_id = LogKey.from_vkey((log / "log.vkey").read_text().strip(), "log.vkey").key_id32
    store = StoreReader(log / "store", key_id)
    indices = [n for n in range(public.size) if public.entry(n).kind is Kind.ATTESTATION_EVIDENCE]
    found = {index: decode_attestation(store.read(index).object_bytes) for index in indices}
    return {index: evidence for index, evidence in found.items() if evidence.subject.epoch_id == signed.epoch_id}


def quotes(log: Path, signed: SignedStatement) -> list[tuple[int, Quote]]:
    """The same, verified."""
    attester = signed.statement.attester
    assert attester is not None
    assert isinstance(attester.name, bytes)
    return [(index, verify_periodic(found, attester.name)) for index, found in evidences(log, signed).items()]


def test_every_launch_is_one_more(measured: Measured) -> None:
    """A restart, a reload and a changed plugin: each a launch of its own, the last with another closure."""
    operator = measured.operator
    operator.start()
    first = measured.launched(measured.statement())
    assert operator.process is not None
    operator.process.send_signal(signal.SIGHUP)
    rig.wait_until(lambda: len(operator.statements()) == 2 and "epoch 2 started" in operator.log.read_text())
    reloaded = measured.launched(measured.statement())
    assert (reloaded.launches, reloaded.epoch_id) == (2, measured.statement().epoch_id)
    assert reloaded.event.closure_hash == first.event.closure_hash
    operator.stop()
    configuration = operator.folder / "conf/mosquitto.conf"
    configuration.write_text(configuration.read_text() + "max_keepalive 600\n")
    operator.start()
    changed = measured.launched(measured.statement())
    assert changed.launches == 3
    assert changed.event.closure_hash != first.event.closure_hash
    before, after = (measured.closure(found) for found in (first, changed))
    other = {member.name for member in set(after.members) - set(before.members)}
    assert other == {"conf/mosquitto.conf"}


def test_what_is_not_measured_does_not_listen(measured: Measured) -> None:
    """Somebody else extended the PCR: the broker is not even started."""
    Tpm(rig.link_to(measured.tpm)).extend(LAUNCH_PCR, b"\1" * 32)
    assert "somebody else" in refused(measured.operator)
    assert not measured.operator.statements()


def test_without_its_tpm_it_does_not_start(operator: Operator, tpm: Path) -> None:
    operator.options = ("--tpm", str(software_tpm.socket_of(tpm)))
    assert "TPM" in refused(operator)


def test_a_tpm_that_the_log_keys_user_may_not_use_is_named_with_a_remedy(operator: Operator, tpm: Path) -> None:
    if os.geteuid() != 0 or find_account(REST_USER) is None:
        pytest.skip("needs root, and a user of its own for the log key")
    operator.options = ("--tpm", str(software_tpm.socket_of(tpm)))
    with rig.started(tpm):  # its socket is root's
        assert "setfacl" in refused(operator)


def refused(operator: Operator) -> str:
    """What `sigillo up` says that does not start."""
    with pytest.raises(AssertionError):
        operator.start()
    assert operator.process is not None
    assert operator.process.wait(PATIENCE_S) == 2
    operator.process = None
    said = operator.log.read_text()
    assert "Traceback" not in said
    return said


def test_without_a_tpm_nothing_is_claimed(operator: Operator) -> None:
    operator.start()
    assert decode_statement(operator.statements()[-1].read_bytes()).statement.attester is None
    assert not (operator.folder / "attestation").exists()
    assert "tpm" not in (operator.folder / "sigillo.toml").read_text()
