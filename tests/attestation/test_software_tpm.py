"""A software TPM is made whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from sigillo.attestation import software_tpm
from sigillo.attestation.error import TpmError

from . import rig


def test_it_belongs_to_its_maker_alone(tpm_folder: Path) -> None:
    for path in (tpm_folder, tpm_folder / "state", tpm_folder / "maker"):
        assert path.stat().st_mode & 0o777 == 0o700


def test_it_is_not_made_over_another(tpm_folder: Path) -> None:
    with pytest.raises(FileExistsError):
        software_tpm.make(tpm_folder, rig.NAME)


def test_without_swtpm_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TpmError, match="swtpm-tools"):
        software_tpm.make(tmp_path / "tpm", rig.NAME)
    assert not (tmp_path / "tpm").exists()
    with pytest.raises(TpmError, match="not installed"):
        software_tpm.command(tmp_path)


def test_a_path_that_no_socket_can_have(tmp_path: Path) -> None:
    with pytest.raises(TpmError, match="107"):
        software_tpm.socket_of(tmp_path / ("x" * 100))
