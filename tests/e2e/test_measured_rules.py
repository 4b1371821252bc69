"""The rules of a configuration, asked of what a real launch measured and of the command that it names."""

from __future__ import annotations

import hashlib
from pathlib import Path

from sigillo.core.launch import Role
from sigillo.core.rule import DEFAULT_RULES, RULES, appraise_configuration

from .test_measured import Measured, measured, tpm

__all__ = ["measured", "tpm"]  # fixtures


def test_what_up_launches_holds_every_rule(measured: Measured) -> None:
    measured.operator.start()
    launched = measured.launched(measured.statement())
    members = [member for member in measured.closure(launched).members if member.role is Role.CONFIGURATION]
    files: dict[str, str | None] = dict.fromkeys((member.name for member in members), None)
    assert len(appraise_configuration(files, launched.event.command, RULES)) == len(RULES), "nothing is shown"
    for member in members:
        data = (measured.operator.folder / member.name).read_bytes()
        if Path(member.name).name in ("mosquitto.conf", "acl"):
            assert hashlib.sha256(data).digest() == member.digest
            files[member.name] = data.decode()
    assert appraise_configuration(files, launched.event.command, RULES) == ()
    assert appraise_configuration(files, (*launched.event.command, "-v"), DEFAULT_RULES)
