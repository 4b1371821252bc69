from __future__ import annotations

from pathlib import Path

import pytest

from sigillo.device.error import DeviceError
from sigillo.device.folder import load_device_folder


@pytest.mark.parametrize("data", [b"id = " + b"9" * 5000, b"id = " + b"[" * 5000, b"\xff", b"= 1"])
def test_settings_that_are_no_toml_are_named(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "device.toml").write_bytes(data)
    with pytest.raises(DeviceError, match=r"device\.toml: "):
        load_device_folder(tmp_path)
