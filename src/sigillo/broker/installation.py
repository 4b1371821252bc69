"""Makes an operator folder complete, and gives each part to the account that needs it (design section 3).

Nothing that exists is overwritten. What is secret is made by the account that owns it, or with its final mode; a folder
whose owner changed (an operator folder copied, or run by root for the first time) is handed over whole.
"""

from __future__ import annotations

import datetime
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509

from sigillo import disk
from sigillo.broker.account import Account, Accounts
from sigillo.broker.authority import Authority
from sigillo.broker.configuration import ARCHIVE_USER, access_list, broker_configuration, file_hash
from sigillo.broker.error import BrokerError
from sigillo.broker.folder import OperatorFolder
from sigillo.broker.settings import Settings
from sigillo.x509 import new_key, private_pem, request_for

_SERVER_KEY = 0o640  # the broker's group, where root owns it
_JUST_ENDING_S = 1.0


@contextmanager
def locked(path: Path) -> Iterator[int]:
    """Hold the lock on an operator folder; its descriptor. Raises BrokerError where a `sigillo up` has it."""
    descriptor = disk.open_folder(path)
    try:
        try:
            disk.lock(descriptor, _JUST_ENDING_S)
        except BlockingIOError:
            raise BrokerError(f"{path}: another `sigillo up` runs on this folder; stop that one first") from None
        yield descriptor
    finally:
        os.close(descriptor)


def install(folder: OperatorFolder, settings: Settings, accounts: Accounts) -> list[Path]:
    """Write what is not there yet, and set owners. Returns what was written. Raises BrokerError, OSError."""
    written: list[Path] = []
    for path in (folder.configuration, folder.tls, folder.plugin.parent, folder.authority):
        _make_folder(path, 0o755)
    written += _once(folder.settings, settings.encode())
    if not (folder.authority / "ca.key.pem").exists():
        Authority.create(folder.authority, settings.name)
        written.append(folder.authority / "ca.key.pem")
    written += _server(folder, settings, accounts)
    if settings.conf:
        _make_folder(folder.derived, 0o755)
    else:
        host, port = settings.address
        written += _once(folder.broker_configuration, broker_configuration(host, port))
        written += _once(folder.access_list, access_list(settings.filters))
    for path, mode, owner, group in (
        (folder.log, 0o700, accounts.rest, accounts.rest),
        (folder.epochs, 0o755, accounts.rest, accounts.rest),
        *(
            (path, 0o755, accounts.rest, accounts.rest)
            for path in (folder.attestation, folder.closures, folder.launches, folder.configurations)
            if settings.tpm
        ),
        (folder.published.parent, 0o755, accounts.rest, accounts.rest),
        (folder.manifests, 0o755, accounts.rest, accounts.rest),
        (folder.rebuilds, 0o755, accounts.rest, accounts.rest),
        (folder.archive, 0o700, accounts.rest, accounts.rest),
        (folder.persistence, 0o700, accounts.broker, accounts.broker),
        (folder.spool, 0o2750, accounts.broker, accounts.rest),
    ):
        _make_folder(path, mode)
        _hand_over(path, owner, group)
        path.chmod(mode)  # a change of owner clears the set-group-id bit
    written += _archive_identity(folder, accounts.rest)
    return written


def install_plugin(folder: OperatorFolder, source: Path | None, *, update: bool) -> bytes | None:
    """Copy the plugin into the folder. Returns the hash of a *source* that differs from the copy and was not taken.

    Raises BrokerError where there is neither a copy nor a *source*, OSError.
    """
    if source is not None and not source.is_file():
        raise BrokerError(f"{source}: no such file; build the plugin with `make plugin`, or name it with --plugin")
    if folder.plugin.exists() and (source is None or file_hash(source) == file_hash(folder.plugin)):
        return None
    if source is None:
        raise BrokerError(f"{folder.plugin}: not there; name the plugin to copy with --plugin FILE")
    if folder.plugin.exists() and not update:
        return file_hash(source)
    disk.replace(folder.plugin, source.read_bytes(), disk.PUBLIC)
    return None


def check_certificate(folder: OperatorFolder, now: datetime.datetime) -> int:
    """Whole days that the server's certificate is still valid. Raises BrokerError where it is not."""
    path = folder.tls / "server.cert.pem"
    try:
        until = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
    except (OSError, ValueError) as error:
        raise BrokerError(f"{path}: cannot be read ({error})") from None
    if until <= now:
        raise BrokerError(
            f"{path}: expired on {until:%Y-%m-%d}; remove it and server.key.pem, `sigillo up` makes new ones"
        )
    return (until - now).days


def _server(folder: OperatorFolder, settings: Settings, accounts: Accounts) -> list[Path]:
    """The server's certificate and key, and the certificates under which clients are accepted."""
    authority = Authority.load(folder.authority)
    written = _once(folder.tls / "ca.cert.pem", authority.certificate)
    key_path, certificate_path = folder.tls / "server.key.pem", folder.tls / "server.cert.pem"
    if not key_path.exists():
        key = new_key()
        certificate = authority.issue_server(key.public_key(), settings.name, settings.address[0])
        disk.replace(certificate_path, certificate, disk.PUBLIC)
        disk.create(key_path, private_pem(key), disk.PRIVATE)
        written += [certificate_path, key_path]
    if os.geteuid() == 0:
        os.chown(key_path, 0, accounts.broker.gid)
        key_path.chmod(_SERVER_KEY)
    return written


def _archive_identity(folder: OperatorFolder, owner: Account) -> list[Path]:
    tls = folder.archive / "tls"
    _make_folder(tls, 0o700)
    key_path, certificate_path = tls / "key.pem", tls / "cert.pem"
    if key_path.exists():
        return []
    key = new_key()
    certificate = Authority.load(folder.authority).issue_client(request_for(key, ARCHIVE_USER), ARCHIVE_USER)
    disk.replace(certificate_path, certificate, disk.PUBLIC)
    disk.create(key_path, private_pem(key), disk.PRIVATE)
    for path in (tls, certificate_path, key_path):
        _give(path, owner, owner)
    return [certificate_path, key_path]


def _once(path: Path, content: bytes) -> list[Path]:
    if path.exists():
        return []
    disk.create(path, content, disk.PUBLIC)
    return [path]


def _make_folder(path: Path, mode: int) -> None:
    if not path.is_dir():
        path.mkdir()
        path.chmod(mode)  # whatever the umask


def _give(path: Path, owner: Account, group: Account) -> None:
    if os.geteuid() == 0:
        os.chown(path, owner.uid, group.gid, follow_symlinks=False)


def _hand_over(folder: Path, owner: Account, group: Account) -> None:
    """Root gives a folder to *owner*; with all that is in it where the folder was somebody else's.

    Only plain files with one name and folders: the old owner may have put links there.
    """
    now = folder.stat()
    if os.geteuid() != 0 or (now.st_uid, now.st_gid) == (owner.uid, group.gid):
        return
    for _root, names, files, descriptor in os.fwalk(folder, follow_symlinks=False):
        for name in (*names, *files):
            status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode) or (stat.S_ISREG(status.st_mode) and status.st_nlink == 1):
                os.chown(name, owner.uid, group.gid, dir_fd=descriptor, follow_symlinks=False)
    os.chown(folder, owner.uid, group.gid)
