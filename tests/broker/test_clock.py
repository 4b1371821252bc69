from __future__ import annotations

from pathlib import Path

import pytest

from sigillo.broker import clock


def process(proc: Path, name: str, *command: str) -> None:
    folder = proc / "4711"
    folder.mkdir(parents=True)
    (folder / "comm").write_text(f"{name}\n")
    (folder / "cmdline").write_bytes(b"\0".join(word.encode() for word in (name, *command)) + b"\0")


def write(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


def test_the_kernel_answers() -> None:
    """Whatever this machine's clock is, the call works and the source is one that a statement can name."""
    source = clock.sample()
    assert source.synchronised is clock.is_synchronised()
    assert source.daemon in ("chrony", "systemd-timesyncd", "ntpd", "none", "unknown")


@pytest.mark.parametrize(("synchronised", "daemon"), [(True, "unknown"), (False, "none")])
def test_a_synchronised_clock_without_a_daemon_has_an_unknown_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, synchronised: bool, daemon: str
) -> None:
    monkeypatch.setattr(clock, "is_synchronised", lambda: synchronised)
    assert clock.sample(tmp_path, tmp_path) == clock.ClockSource(daemon, False, False, synchronised)


@pytest.mark.parametrize(("name", "daemon"), [("systemd-timesyn", "systemd-timesyncd"), ("ntpd", "ntpd")])
def test_daemons_that_quote_no_bound(tmp_path: Path, name: str, daemon: str) -> None:
    process(tmp_path / "proc", name)
    source = clock.sample(tmp_path / "proc", tmp_path)
    assert (source.daemon, source.authenticated, source.bound_meaningful) == (daemon, False, False)


@pytest.mark.parametrize(
    ("text", "authenticated", "meaningful"),
    [
        ("pool ntp.example iburst\nrtcsync\n", False, True),
        ("server ntp.example nts\nrtcsync\n", True, True),
        ("server a nts\nserver b\n", False, False),
        ("server a key 7\n", True, False),
        ("#rtcsync\n! rtcsync\n", False, False),
        ("", False, False),
    ],
)
def test_chrony_is_believed_as_far_as_its_configuration_goes(
    tmp_path: Path, text: str, authenticated: bool, meaningful: bool
) -> None:
    process(tmp_path / "proc", "chronyd", "-F", "1")
    write(tmp_path, "etc/chrony/chrony.conf", text)
    source = clock.sample(tmp_path / "proc", tmp_path)
    assert (source.daemon, source.authenticated, source.bound_meaningful) == ("chrony", authenticated, meaningful)


def test_chrony_with_another_file_and_included_ones(tmp_path: Path) -> None:
    process(tmp_path / "proc", "chronyd", "-f", "/srv/chrony.conf")
    write(tmp_path, "etc/chrony/chrony.conf", "server wrong\n")
    write(tmp_path, "srv/chrony.conf", "confdir /srv/d\nsourcedir /srv/s\ninclude /srv/more.conf\n")
    write(tmp_path, "srv/d/x.conf", "rtcsync\n")
    write(tmp_path, "srv/s/x.sources", "server right nts\n")
    write(tmp_path, "srv/more.conf", "include /srv/more.conf\n")
    source = clock.sample(tmp_path / "proc", tmp_path)
    assert (source.authenticated, source.bound_meaningful) == (True, True)
