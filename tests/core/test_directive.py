"""What Mosquitto reads in a mosquitto.conf is what is read here; any text is read or refused, always alike."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigillo.core import directive
from sigillo.core.directive import (
    Directives,
    Line,
    Section,
    decode_directives,
    included,
    listener_address,
    plugin_path,
    with_paths,
)
from sigillo.core.errors import ConfigurationError


def read(text: str | bytes, **files: str) -> Directives:
    """The configuration of this text; *files*: what its `include_dir` brings in."""

    def include(line: Line) -> Iterator[tuple[str, bytes]]:
        for name in included(f"{name}.conf" for name in files):
            yield name, files[name.removesuffix(".conf")].encode()

    return decode_directives("mosquitto.conf", text if isinstance(text, bytes) else text.encode(), include)


def pairs(section: Section) -> list[tuple[str, str]]:
    return [(line.name, line.value) for line in section.lines]


def test_lines_belong_to_the_section_above() -> None:
    found = read(
        "max_qos 1\nlistener 1883 # public\nmount_point a/\nconnection north\naddress n\nlistener 1884 ::1\n"
        "topic # in\nprotocol mqtt\nplugin /x.so\nplugin_opt_a 1\nacl_file /acl\nauth_plugin /y.so\nauth_opt_b 2\n",
    )
    assert pairs(found.above) == [("max_qos", "1")]
    assert [listener_address(listener) for listener in found.listeners] == [(1883, ""), (1884, "::1")]
    assert [pairs(listener) for listener in found.listeners] == [[("mount_point", "a/")], [("protocol", "mqtt")]]
    assert [pairs(bridge) for bridge in found.bridges] == [[("address", "n"), ("topic", "# in")]]
    assert [(plugin_path(plugin), pairs(plugin)) for plugin in found.plugins] == [
        ("/x.so", [("plugin_opt_a", "1")]),
        ("/y.so", [("auth_opt_b", "2")]),
    ]
    assert pairs(found.broker) == [("acl_file", "/acl")]


def test_an_included_file_begins_outside_any_section_and_leaves_none() -> None:
    found = read("listener 1\ninclude_dir conf.d\nmax_qos 0\n", a="max_qos 1\nlistener 2\nmax_qos 2\n")
    assert pairs(found.above) == [("max_qos", "1")]
    assert [pairs(listener) for listener in found.listeners] == [[("max_qos", "0")], [("max_qos", "2")]]


def test_included_files_come_in_mosquittos_order() -> None:
    names = ["B.conf", "_x.conf", "a.conf", "A.conf", "10.conf", "9.conf", "é.conf", "ab.conf", ".conf", "z.conf.old"]
    expected = ["10.conf", "9.conf", "A.conf", "a.conf", "ab.conf", "B.conf", "_x.conf", "é.conf"]
    assert included(names) == expected


def test_an_include_inside_an_included_file_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"a\.conf: line 1: `include_dir`"):
        read("include_dir conf.d\n", a="include_dir conf.d\n")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("log_type all\r\n", "all"),
        ("log_type   all  \t\n", "all"),
        ("  log_type all", "all"),
        ("# log_type no\nlog_type all", "all"),
        ("#\x0clog_type no\nlog_type all", "all"),
        ("log_type all\x0blog_type no\n", "all\x0blog_type no"),
        ("log_type all # not a comment\n", "all # not a comment"),
    ],
)
def test_lines_end_and_comments_begin_where_mosquitto_says(text: str, value: str) -> None:
    assert pairs(read(text).broker) == [("log_type", value)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("per_listener_settings true", "line 1: `per_listener_settings` must be false"),
        ("\n\nper_listener_settings 1", "line 3: `per_listener_settings` must be false"),
        ("per_listener_settings maybe", "must be true or false"),
        ("allow_anonymos true", "`allow_anonymos` is not known"),
        ("log_type", "`log_type` has no value"),
        ("log_type \t", "`log_type` has no value"),
        ("listener\t1883", "is no directive"),
        ("listener \t 1883", "line 1: `listener` has white space"),
        ("max_queued_messages \v5", "`max_queued_messages` has white space"),
        ("include_dir  conf.d", "`include_dir` has white space"),
        ("include_dir conf.d ", "`include_dir` has white space"),
        (" # comment", "`#` is not known"),
        ("plugin_opt_x 1", "no `plugin` above it"),
        ("topic # in", "no `connection` above it"),
        ("plugin_use x", "names no plugin that is loaded"),
        ("plugin_load x /x.so\nplugin_use x", "no `listener` above it"),
        ("listener 1\nport 2", "one thing to Mosquitto 2.0"),
        ("listener 1\nbind_address x", "one thing to Mosquitto 2.0"),
        *((f"{name} x", f"`{name}` has no place here") for name in directive.REFUSED),
        (b"\x00", "has zero bytes"),
        (b"\xff\xfe", "is not UTF-8"),
        ("#" * (2**20 + 1), "is larger than"),
    ],
)
def test_what_mosquitto_or_a_statement_could_not_take_is_named(text: str | bytes, reason: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(text)
    assert reason in str(caught.value)
    assert caught.value.where.startswith("mosquitto.conf")


@pytest.mark.parametrize("value", ["65536", "x", "0", "-1", "9" * 30, "0 #x"])
def test_a_listener_that_is_none_is_named(value: str) -> None:
    with pytest.raises(ConfigurationError, match="`listener`"):
        listener_address(Section(Line("f", 1, "listener", value)))


NAMES = sorted(directive._BROKER - {"per_listener_settings"})
VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\n\0"), min_size=1, max_size=20).filter(
    lambda text: text.strip(directive._BLANKS) == text and text != ""
)


@given(st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=8))
def test_what_is_written_is_read_back(lines: list[tuple[str, str]]) -> None:
    given = Directives(broker=Section(None, [Line("f", 0, name, value) for name, value in lines]))
    assert pairs(decode_directives("f", given.encode()).broker) == lines


KNOWN = sorted(directive._BROKER | directive._LISTENER | directive._BRIDGE | directive._PLUGINS)
KNOWN += ["listener", "connection", "include_dir", "plugin_use", "plugin_opt_x", "auth_opt_y", "port", "bind_address"]
WORDS = st.sampled_from(
    ["true", "false", "1", "0", "1883", "1883 ::1", "0 /s", "p", "p /p.so", "/x.so", "a", "\t", "#"]
)
TEXTS = st.lists(st.tuples(st.sampled_from(KNOWN), WORDS).map(" ".join) | st.text(max_size=20), max_size=12).map(
    "\n".join
)


def all_of(text: bytes | str, included_text: str) -> object:
    """Everything that is read of a text, or what is wrong with it."""
    try:
        found = read(text, a=included_text)
    except ConfigurationError as error:
        assert (error.where, error.reason) != ("", "")
        return str(error)
    said: list[object] = [[(line.file, line.number, line.name, line.value) for line in found.lines()], found.encode()]
    for line in found.lines():
        for read_value in (lambda line=line: line.is_on, lambda line=line: line.count, lambda line=line: line.words):
            said.append(refused_or(read_value))
    said += [refused_or(lambda section=section: listener_address(section)) for section in found.listeners]
    said += [refused_or(lambda section=section: plugin_path(section)) for section in found.plugins]
    said += [refused_or(lambda section=section: with_paths(section, "/x/".__add__)) for section in found.sections()]
    return said


def refused_or(value: object) -> object:
    try:
        return value()  # type: ignore[operator]
    except ConfigurationError as error:
        return str(error)


@given(st.binary(max_size=200) | TEXTS | st.text(max_size=200), TEXTS)
def test_any_text_is_read_or_refused_always_alike(text: bytes | str, included_text: str) -> None:
    """Never another exception, never another answer."""
    if isinstance(text, str):
        text = text.encode("utf-8", "surrogatepass")
    assert all_of(text, included_text) == all_of(text, included_text)


@given(TEXTS)
def test_one_file_that_means_the_same(text: str) -> None:
    """What a configuration with included files says, in one: read again it says the same."""
    try:
        found = read(text, a="listener 7\nmax_qos 1\n")
    except ConfigurationError:
        return
    again = decode_directives("f", found.encode())
    assert again.encode() == found.encode()
