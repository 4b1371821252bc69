from __future__ import annotations

import datetime
import os
from pathlib import Path

import pytest

from sigillo.broker.account import Accounts, find_account
from sigillo.broker.configuration import file_hash
from sigillo.broker.error import BrokerError
from sigillo.broker.folder import OperatorFolder
from sigillo.broker.installation import check_certificate, install, install_plugin

from .operator import SETTINGS, installed, one_user


def test_what_exists_is_never_overwritten(tmp_path: Path) -> None:
    folder = installed(tmp_path)
    files = [path for path in folder.path.rglob("*") if path.is_file()]
    assert len(files) == 11
    before = {path: path.read_bytes() for path in files}
    folder.broker_configuration.write_text("# mine\n")
    assert install(folder, SETTINGS, one_user()) == []
    for path in files:
        assert path.read_bytes() == (b"# mine\n" if path == folder.broker_configuration else before[path])


def test_what_is_missing_is_written(tmp_path: Path) -> None:
    folder = installed(tmp_path)
    folder.access_list.unlink()
    assert install(folder, SETTINGS, one_user()) == [folder.access_list]


def test_secrets_are_private(tmp_path: Path) -> None:
    folder = installed(tmp_path)
    modes = {
        folder.authority / "ca.key.pem": 0o600,
        folder.archive / "tls" / "key.pem": 0o600,
        folder.archive: 0o700,
        folder.log: 0o700,
        folder.persistence: 0o700,
    }
    assert {path: path.stat().st_mode & 0o777 for path in modes} == modes
    assert (folder.tls / "server.key.pem").stat().st_mode & 0o007 == 0


def test_a_plugin_is_copied_once_and_replaced_only_when_told(tmp_path: Path) -> None:
    folder = installed(tmp_path)
    other = tmp_path / "other.so"
    other.write_bytes(b"other plugin")
    assert install_plugin(folder, None, update=False) is None
    assert install_plugin(folder, other, update=False) == file_hash(other)
    assert folder.plugin.read_bytes() == b"plugin"
    assert install_plugin(folder, other, update=True) is None
    assert folder.plugin.read_bytes() == b"other plugin"
    folder.plugin.unlink()
    with pytest.raises(BrokerError, match="--plugin"):
        install_plugin(folder, None, update=False)
    with pytest.raises(BrokerError, match="no such file"):
        install_plugin(folder, tmp_path / "none.so", update=False)
    assert install_plugin(folder, other, update=False) is None


def test_an_expired_certificate_is_named(tmp_path: Path) -> None:
    folder = installed(tmp_path)
    now = datetime.datetime.now(datetime.UTC)
    assert check_certificate(folder, now) > 3000
    with pytest.raises(BrokerError, match=r"server\.cert\.pem: expired"):
        check_certificate(folder, now + datetime.timedelta(days=4000))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_each_part_belongs_to_whoever_needs_it(tmp_path: Path) -> None:
    """Design section 3: the broker cannot read the log key; the log key's owner can read the spool."""
    broker, rest = find_account("daemon"), find_account("nobody")
    assert broker is not None
    assert rest is not None
    folder = OperatorFolder.at(tmp_path / "operator")
    folder.path.mkdir()
    install(folder, SETTINGS, Accounts(broker, rest, ""))

    def state(path: Path) -> tuple[int, int, int]:
        status = path.stat()
        return status.st_uid, status.st_gid, status.st_mode & 0o7777

    assert state(folder.log) == (rest.uid, rest.gid, 0o700)
    assert state(folder.epochs) == (rest.uid, rest.gid, 0o755)
    assert state(folder.archive / "tls" / "key.pem") == (rest.uid, rest.gid, 0o600)
    assert state(folder.spool) == (broker.uid, rest.gid, 0o2750)
    assert state(folder.persistence) == (broker.uid, broker.gid, 0o700)
    assert state(folder.tls / "server.key.pem") == (0, broker.gid, 0o640)
    assert state(folder.authority / "ca.key.pem") == (0, 0, 0o600)
    assert state(folder.broker_configuration) == (0, 0, 0o644)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_folder_changes_hands_without_its_links(tmp_path: Path) -> None:
    """The old owner may have put links into it: root must not give away what they point to."""
    broker, rest = find_account("daemon"), find_account("nobody")
    assert broker is not None
    assert rest is not None
    folder = installed(tmp_path)
    precious = tmp_path / "precious"
    precious.write_text("root's")
    (folder.spool / "soft").symlink_to(precious)
    os.link(precious, folder.spool / "hard")
    (folder.spool / "0000000001").mkdir()
    (folder.spool / "0000000001" / "000000.spool").write_text("")
    install(folder, SETTINGS, Accounts(broker, rest, ""))
    assert precious.stat().st_uid == 0
    assert (folder.spool / "0000000001" / "000000.spool").stat().st_uid == broker.uid
