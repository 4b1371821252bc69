"""Which texts may name a device."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigillo.core.policy import check_topic_level as policy_accepts
from sigillo.core.topic import filter_matches
from sigillo.device.error import DeviceError
from sigillo.device.identity import check_device_id, reported_topic


@pytest.mark.parametrize("device_id", ["crate-1", "7c:9e:bd:01:02:03", "kiste nr. 3", "ä" * 64, "a", "$x", "日本"])
def test_accepted(device_id: str) -> None:
    assert check_device_id(device_id) == device_id


@pytest.mark.parametrize(
    "device_id",
    [
        *["", "a/b", "+", "a#", "a\nb", "a\x00", "a\x7f", "a\u200bb", "a\u202eb", "a\u00a0b", "\ud800", "e\u0301"],
        *[".", "..", ".git", "-o", " a", "a ", "a" * 65, "日" * 43, "sigillo-archive", "Sigillo-x"],
    ],
)
def test_refused(device_id: str) -> None:
    with pytest.raises(DeviceError, match="device id"):
        check_device_id(device_id)


@given(st.text(max_size=130))
def test_an_accepted_id_is_one_level_of_a_topic_and_passes_the_policy(device_id: str) -> None:
    try:
        check_device_id(device_id)
    except DeviceError:
        return
    assert filter_matches("braid/agent/+/shadow/reported/#", reported_topic(device_id))
    policy_accepts(device_id, "id")
