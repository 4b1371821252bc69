from __future__ import annotations

import json
from pathlib import Path

import pytest

from sigillo.core.proof import decode_proof, verify_proof

from ..log.operator import Operator
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
    assert json.loads(sigillo("log", "fsck", operator.folder, "--json").out) == {"size": 21, "fault": None}


def test_fsck_names_a_fault(operator: Operator) -> None:
    path = operator.log / "public/tile/entries/000.p/21"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    answer = sigillo("log", "fsck", operator.folder)
    assert answer.code == 1 and answer.out.startswith("FAULT (check 2) ") and "entry 20: its leaf" in answer.out
    answer = sigillo("log", "fsck", operator.folder, "--json")
    assert answer.code == 1 and json.loads(answer.out)["fault"]["check"] == 2


@pytest.mark.parametrize("command", [["fsck"], ["show"], ["proof", "--index", "0", "-o", "never"]])
def test_a_folder_that_is_no_operators(tmp_path: Path, command: list[str]) -> None:
    refused("log", command[0], tmp_path, *command[1:], says="log.vkey")


def test_show(operator: Operator) -> None:
    answer = sigillo("log", "show", operator.folder)
    assert answer.code == 0 and "size    21\n" in answer.out and "epochs  1\n" in answer.out
    assert answer.out.count("mark ") == 10
    shown = json.loads(sigillo("log", "show", operator.folder, "--json").out)
    assert (shown["size"], shown["newest"][-1]["sequence"]) == (21, 20)


def test_proof(operator: Operator, tmp_path: Path) -> None:
    path = tmp_path / "entry.tlog-proof"
    command = ["log", "proof", operator.folder, "--index", 7, "-o", path]
    assert sigillo(*command).code == 0
    verify_proof(decode_proof(path.read_bytes()), operator.public().entry(7).leaf_hash, operator.broker.log_key)
    refused(*command, says="is there already")
    assert sigillo(*command, "--force").code == 0
    refused("log", "proof", operator.folder, "--index", 21, "-o", tmp_path / "other", says="the log has 21 entries")
