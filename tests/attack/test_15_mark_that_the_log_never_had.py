"""Attack 15 (WoSign 2016): the operator backdates a mark, or keeps one out of its log; what it signed proves it."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from sigillo.cli.main import main
from sigillo.core.entry import Kind, encode_entry
from sigillo.core.evidence_line import EpochLine, Line
from sigillo.core.policy import encode_policy

from ..adversary.broker import SECOND, Broker, evidence_file
from ..adversary.device import Device
from ..adversary.log import logged
from ..log.operator import Operator, check
from ..log.test_fsck import resign

CRATE = Device("crate-1")


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    made = Operator(tmp_path / "operator").create()
    (tmp_path / "policy.toml").write_text(encode_policy(made.broker.policy(CRATE)))
    made.start()
    return made


def accuse(operator: Operator, file: bytes, capsys: pytest.CaptureFixture[str]) -> str:
    """What `sigillo accuse` says of a file beside the log's public files, and `sigillo verify` of what it wrote."""
    folder = operator.folder.parent
    (folder / "evidence.jsonl").write_bytes(file)
    policy, target = ["--policy", str(folder / "policy.toml")], folder / "accusation"
    public = str(operator.log / "public")
    code = _run("accuse", str(folder / "evidence.jsonl"), public, *policy, "-o", str(target))
    said = capsys.readouterr().out
    if code == 0:
        assert _run("verify", str(target), *policy) == 1
        assert capsys.readouterr().out == said
    return said


def _run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


def shown(operator: Operator, *marks: Line) -> bytes:
    epochs = [line for line in operator.broker.lines if isinstance(line, EpochLine)]
    return evidence_file([*epochs, *marks])


def backdated(operator: Operator, sequence: int) -> Line:
    """A second mark with that number, and the time that it would have had; the plugin's spool never saw it."""
    broker = operator.broker
    epoch = broker.epoch
    assert epoch
    twin = copy.deepcopy(broker, {id(epoch.key): epoch.key, id(broker.log_private): broker.log_private})
    twin.clock_ns -= SECOND * (epoch.sequence - sequence + 1)
    lies = {"sequence": sequence, "count": 1, "previous": epoch.epoch_id}
    return twin.mark(CRATE.topic, CRATE.datagram(), CRATE.id, **lies)


def test_a_backdated_mark_stands_against_the_entry_of_its_number(
    operator: Operator, capsys: pytest.CaptureFixture[str]
) -> None:
    operator.mark(5)
    operator.run()
    said = accuse(operator, shown(operator, backdated(operator, 3)), capsys)
    assert said.startswith("MISBEHAVIOUR PROVED: ") and "entry 3 of the log is another mark 3 of epoch 1" in said


def test_a_mark_that_was_delivered_and_kept_out_of_the_log(
    operator: Operator, capsys: pytest.CaptureFixture[str]
) -> None:
    """The number is left out too: the log of this library refuses that, so the operator runs another one."""
    story = logged()
    del story.log.entries[4]

    resign(operator, [encode_entry(entry) for entry in story.log.entries])
    said = accuse(operator, story.broker.file(), capsys)
    assert said.startswith("MISBEHAVIOUR PROVED: ") and "entries 3 and 4 of the log leave out mark 4 of epoch 1" in said


def test_an_honest_log_accuses_nobody(operator: Operator, capsys: pytest.CaptureFixture[str]) -> None:
    lines = []
    for _ in range(3):
        line = operator.broker.mark(CRATE.topic, CRATE.datagram(), CRATE.id)
        assert operator.broker.epoch
        operator.record(Kind.MARK, operator.broker.epoch.sequence, line.mark)
        lines.append(line)
    operator.run()
    late = operator.broker.mark(CRATE.topic, CRATE.datagram(), CRATE.id)  # not yet logged: the epoch has not gone on
    assert accuse(operator, shown(operator, *lines, late), capsys).startswith("NOTHING FOUND")
    check(operator)


def test_a_stranger_without_the_key_accuses_nobody(operator: Operator, capsys: pytest.CaptureFixture[str]) -> None:
    operator.mark(5)
    operator.run()
    other = Broker(seed="other")
    other.start()
    line = other.mark(CRATE.topic, CRATE.datagram(), CRATE.id)
    file = evidence_file([*[line for line in other.lines if isinstance(line, EpochLine)], line])
    assert accuse(operator, file, capsys).startswith("NOTHING FOUND")
