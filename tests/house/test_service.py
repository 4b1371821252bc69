"""The files for systemd: it takes them, and what they start is a command of ours."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from sigillo.cli import up
from tests.house.checkout import CHECKOUT

DROP_IN = CHECKOUT / "deploy/systemd/mosquitto.service.d/sigillo.conf"
DEBIAN = """\
[Unit]
Description=Mosquitto MQTT Broker

[Service]
Type=notify
NotifyAccess=main
ExecStart=/usr/sbin/mosquitto -c /etc/mosquitto/mosquitto.conf
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
"""


def test_what_it_starts_is_a_command_of_ours() -> None:
    (line,) = re.findall(r"^ExecStart=(.+)$", DROP_IN.read_text(), re.MULTILINE)
    program, name, *arguments = shlex.split(line)
    assert Path(program).name == "sigillo"
    assert (CHECKOUT / "sigillo").exists()
    context = up.command.make_context(name, arguments)
    assert context.params["directory"] == Path("/var/lib/sigillo")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze (Debian: systemd)")
def test_systemd_takes_it(tmp_path: Path) -> None:
    program = tmp_path / "sigillo"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    (tmp_path / "mosquitto.service").write_text(DEBIAN.replace("/usr/sbin/mosquitto", str(program)))
    (tmp_path / "mosquitto.service.d").mkdir()
    drop_in = DROP_IN.read_text().replace("/opt/sigillo/sigillo", str(program))
    (tmp_path / "mosquitto.service.d/sigillo.conf").write_text(drop_in)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--recursive-errors=no", tmp_path / "mosquitto.service"],
        env=os.environ | {"SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
        capture_output=True,
        text=True,
    )
    said = [line for line in done.stderr.splitlines() if "mosquitto" in line or "sigillo" in line]
    assert (done.returncode, said) == (0, [])


def test_the_page_names_it() -> None:
    page = (CHECKOUT / "docs/existing-broker.md").read_text(encoding="utf-8")
    assert str(DROP_IN.relative_to(CHECKOUT)) in page
