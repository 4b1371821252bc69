"""Topic filters, with the examples of MQTT 5 section 4.7."""

import pytest

from sigillo.core.errors import DecodeError
from sigillo.core.topic import check_filter, filter_matches


@pytest.mark.parametrize(
    ("topic_filter", "topic", "matches"),
    [
        ("sport/tennis/player1/#", "sport/tennis/player1", True),
        ("sport/tennis/player1/#", "sport/tennis/player1/ranking", True),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", True),
        ("sport/#", "sport", True),
        ("#", "sport/tennis", True),
        ("#", "/", True),
        ("sport/tennis/+", "sport/tennis/player1", True),
        ("sport/tennis/+", "sport/tennis/player1/ranking", False),
        ("sport/+", "sport", False),
        ("sport/+", "sport/", True),
        ("+/+", "/finance", True),
        ("/+", "/finance", True),
        ("+", "/finance", False),
        ("#", "$SYS/uptime", False),
        ("+/monitor/Clients", "$SYS/monitor/Clients", False),
        ("$SYS/#", "$SYS/uptime", True),
        ("$SYS/monitor/+", "$SYS/monitor/Clients", True),
        ("a/b", "a/b", True),
        ("a/b", "A/b", False),
        ("a/b", "a/b/", False),
        ("a/b/", "a/b", False),
        ("braid/agent/+/shadow/reported/#", "braid/agent/crate-1/shadow/reported/", True),
        ("braid/agent/+/shadow/reported/#", "braid/agent/crate-1/shadow/reported", True),
        ("braid/agent/+/shadow/reported/#", "braid/agent/crate-1/shadow/desired/x", False),
    ],
)
def test_matching(topic_filter: str, topic: str, matches: bool) -> None:
    assert filter_matches(check_filter(topic_filter, "filter"), topic) is matches


@pytest.mark.parametrize(
    "wrong", ["", "a#", "a/#/b", "#/a", "a+", "+a/b", "a/b+/c", "a\0", "f" * 65_536, 1, None, b"a"]
)
def test_filters_that_are_none(wrong: object) -> None:
    with pytest.raises(DecodeError, match="filter"):
        check_filter(wrong, "filter")
