"""Ports for the services of tests: each goes to one of them only, whichever process asks."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from . import port
from .port import free_port

ASK = "from tests.port import free_port; print(*(free_port() for _ in range(50)))"


def test_no_two_get_the_same() -> None:
    command = [sys.executable, "-c", f"import os; os.getpid = lambda: 1; {ASK}; input()"]
    root = Path(__file__).parents[1]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": root}
    asked = [subprocess.Popen(command, **pipes) for _ in range(3)]  # all begin at the same port
    got = [number for process in asked for number in process.stdout.readline().split()]
    for process in asked:
        process.communicate("\n")
    assert len(set(got)) == 150


def test_one_that_is_in_use_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    used, unused = free_port(), free_port()
    monkeypatch.setattr(port, "_PORTS", (used, unused))
    monkeypatch.setattr(port, "_claim", lambda _number: True)
    monkeypatch.setattr(port, "_claims", set())
    with socket.create_server(("127.0.0.1", used)):
        assert {free_port(), free_port()} == {unused}


def test_many_take_one_descriptor() -> None:
    free_port()
    before = len(os.listdir("/proc/self/fd"))
    assert len({free_port() for _ in range(100)}) == 100
    assert len(os.listdir("/proc/self/fd")) == before
