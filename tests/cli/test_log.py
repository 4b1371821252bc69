from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from sigillo.cli.log import command
from sigillo.core.proof import decode_proof, verify_proof

from ..log.operator import Operator, small_segments
from .command import refused, sigillo


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    operator = Operator(tmp_path / "operator").create()
    operator.start()
    operator.mark(20)
    operator.run()
    return operator


def test_fsck_of_a_good_log(operator: Operator) -> None:
    answer = sigillo("log", "fsck", operator.folder)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == "good: 21 entries, under the key broker.example/log\n"
    assert json.loads(sigillo("log", "fsck", operator.folder, "--json").out) == {
        "size": 21,
        "fault": None,
        "not_checked": [],
    }


def test_fsck_names_a_fault(operator: Operator) -> None:
    path = operator.log / "public/tile/entries/000.p/21"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    answer = sigillo("log", "fsck", operator.folder)
    assert answer.code == 1 and answer.out.startswith("FAULT (check 2) ") and "entry 20: its leaf" in answer.out
    answer = sigillo("log", "fsck", operator.folder, "--json")
    assert answer.code == 1 and json.loads(answer.out)["fault"]["check"] == 2


@pytest.mark.parametrize("words", [["fsck"], ["show"], ["proof", "--index", "0", "-o", "never"]])
def test_a_folder_that_is_no_operators(tmp_path: Path, words: list[str]) -> None:
    refused("log", words[0], tmp_path, *words[1:], says="log.vkey")


def test_show(operator: Operator) -> None:
    answer = sigillo("log", "show", operator.folder)
    assert answer.code == 0 and "size    21\n" in answer.out and "epochs  1\n" in answer.out
    assert answer.out.count("mark ") == 10
    shown = json.loads(sigillo("log", "show", operator.folder, "--json").out)
    assert (shown["size"], shown["newest"][-1]["sequence"]) == (21, 20)


def test_proof(operator: Operator, tmp_path: Path) -> None:
    path = tmp_path / "entry.tlog-proof"
    line = ["log", "proof", operator.folder, "--index", 7, "-o", path]
    assert sigillo(*line).code == 0
    verify_proof(decode_proof(path.read_bytes()), operator.public().entry(7).leaf_hash, operator.broker.log_key)
    refused(*line, says="is there already")
    assert sigillo(*line, "--force").code == 0
    refused("log", "proof", operator.folder, "--index", 21, "-o", tmp_path / "other", says="the log has 21 entries")


def test_beside_a_running_log_it_says_what_it_leaves_out(operator: Operator) -> None:
    with operator.open():
        answer = sigillo("log", "fsck", operator.folder)
        assert answer.code == 0
        assert answer.out.startswith("good: 21 entries") and "\nnot checked (6, 7): a log is running here" in answer.out
        (left_out,) = json.loads(sigillo("log", "fsck", operator.folder, "--json").out)["not_checked"]
        assert left_out["checks"] == [6, 7]


def test_after_retention(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that begins with its second segment, as after 65,536 entries: with small ones here."""
    small_segments(monkeypatch, 8)
    folder = tmp_path / "other"
    other = Operator(folder).create()
    other.start()
    other.mark(10)
    other.end()
    other.start()
    other.run()
    with other.open(keep_entries=1):
        pass
    run = partial(CliRunner().invoke, command, standalone_mode=False)  # in this process, where segments are small
    answer = run(["fsck", str(folder)])
    assert answer.return_value == 0
    assert "\nnot checked (4): the objects of the entries before 8 are not kept" in answer.output
    path = tmp_path / "entry.tlog-proof"
    answer = run(["proof", str(folder), "--index", "3", "-o", str(path)])
    assert "its object is not kept: the store begins with entry 8" in answer.output
    verify_proof(decode_proof(path.read_bytes()), other.public().entry(3).leaf_hash, other.broker.log_key)
