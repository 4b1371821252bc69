"""The way to a TPM: every call ends, also where the TPM hangs, is gone or talks nonsense."""

from __future__ import annotations

import os
import pty
import signal
import socket
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sigillo.attestation.error import TpmError
from sigillo.attestation.link import DeviceLink, SocketLink, open_link
from sigillo.attestation.tpm import Tpm

from . import rig

GET_RANDOM = bytes.fromhex("80010000000c0000017b0008")


def test_a_tpm_that_hangs_is_given_up(tpm_folder: Path) -> None:
    with rig.started(tpm_folder) as process:
        link = rig.link_to(tpm_folder, 0.2)
        assert link.transmit(GET_RANDOM)[6:10] == bytes(4)
        process.send_signal(signal.SIGSTOP)
        with pytest.raises(TpmError, match="does not answer within"):
            link.transmit(GET_RANDOM)


def test_a_tpm_that_ended_is_gone_and_back_after_a_restart(tpm_folder: Path) -> None:
    with rig.started(tpm_folder):
        link = rig.link_to(tpm_folder)
        link.transmit(GET_RANDOM)
    with pytest.raises(TpmError, match="gone"):
        link.transmit(GET_RANDOM)
    with rig.started(tpm_folder):
        link.transmit(GET_RANDOM)


def test_no_tpm_and_no_such_thing(tmp_path: Path) -> None:
    with pytest.raises(TpmError, match="there is no TPM"):
        open_link(tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(TpmError, match="neither"):
        open_link(tmp_path / "file")


@contextmanager
def answering(path: Path, response: bytes) -> Iterator[SocketLink]:
    """Something that gives one answer to whatever it is asked."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(response)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield SocketLink(path, 5.0)
        finally:
            thread.join()


@pytest.mark.parametrize(
    "response",
    [b"", b"\x80\x01\0\0\0\x0a", bytes(10), b"\x80\x01\0\0\0\x09" + bytes(4), b"\x80\x01\xff\xff\xff\xff" + bytes(4)],
)
def test_what_is_no_response_is_refused(tmp_path: Path, response: bytes) -> None:
    with answering(tmp_path / "s", response) as link, pytest.raises(TpmError):
        link.transmit(GET_RANDOM)


@pytest.mark.parametrize("body", [b"", b"\0", b"\0\0\0\x01\0\0\0\x01", bytes(40)])
def test_a_response_that_says_something_else_is_the_tpms_fault(tmp_path: Path, body: bytes) -> None:
    response = b"\x80\x01" + (10 + len(body)).to_bytes(4, "big") + bytes(4) + body
    with answering(tmp_path / "s", response) as link, pytest.raises(TpmError):
        Tpm(link).read_pcrs([0])


@contextmanager
def device(response: bytes | None) -> Iterator[DeviceLink]:
    """A character device (a terminal in raw mode) that answers once, or never."""
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    link = DeviceLink(Path(os.ttyname(theirs)), 5.0 if response else 0.1)
    try:
        if response:
            os.write(ours, response)
        yield link
    finally:
        link.close()
        os.close(ours)
        os.close(theirs)


def test_a_device_answers_in_one_piece() -> None:
    response = bytes.fromhex("80010000000e00000000") + b"data"
    with device(response) as link:
        assert link.transmit(GET_RANDOM) == response
    with device(response[:-1]) as link, pytest.raises(TpmError, match="another length"):
        link.transmit(GET_RANDOM)


def test_a_device_that_did_not_answer_is_not_asked_again() -> None:
    """Its late answer would be taken for the next one's."""
    with device(None) as link:
        with pytest.raises(TpmError, match="does not answer"):
            link.transmit(GET_RANDOM)
        with pytest.raises(TpmError, match="was closed"):
            link.transmit(GET_RANDOM)
