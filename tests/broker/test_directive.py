"""What Mosquitto reads in a mosquitto.conf is what is read here."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigillo.broker import directive
from sigillo.broker.directive import Directives, Line, Section, listener_address, plugin_path, read_directives
from sigillo.broker.error import BrokerError


def read(folder: Path, text: str | bytes, **files: str) -> Directives:
    conf = folder / "mosquitto.conf"
    conf.write_bytes(text if isinstance(text, bytes) else text.encode())
    (folder / "conf.d").mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / "conf.d" / f"{name}.conf").write_text(content)
    return read_directives(conf, folder)


def pairs(section: Section) -> list[tuple[str, str]]:
    return [(line.name, line.value) for line in section.lines]


def test_lines_belong_to_the_section_above(tmp_path: Path) -> None:
    found = read(
        tmp_path,
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


def test_an_included_file_begins_outside_any_section_and_leaves_none(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        "listener 1\ninclude_dir conf.d\nmax_qos 0\n",
        a="max_qos 1\nlistener 2\nmax_qos 2\n",
    )
    assert pairs(found.above) == [("max_qos", "1")]
    assert [pairs(listener) for listener in found.listeners] == [[("max_qos", "0")], [("max_qos", "2")]]


def test_included_files_come_in_mosquittos_order(tmp_path: Path) -> None:
    files = {name: f"log_type {at}\n" for at, name in enumerate(["B", "_x", "a", "A", "10", "9", "é", "ab"])}
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d/.conf").write_text("not read")
    (tmp_path / "conf.d/z.conf.dpkg-old").write_text("not read")
    found = read(tmp_path, "include_dir conf.d\n", **files)
    assert [line.file.stem for line in found.broker.lines] == ["é", "10", "9", "A", "a", "ab", "B", "_x"]


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
def test_lines_end_and_comments_begin_where_mosquitto_says(tmp_path: Path, text: str, value: str) -> None:
    assert pairs(read(tmp_path, text).broker) == [("log_type", value)]


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
        (" # comment", "`#` is not known"),
        ("plugin_opt_x 1", "no `plugin` above it"),
        ("topic # in", "no `connection` above it"),
        ("plugin_use x", "names no plugin that is loaded"),
        ("plugin_load x /x.so\nplugin_use x", "no `listener` above it"),
        ("listener 1\nport 2", "one thing to Mosquitto 2.0"),
        ("listener 1\nbind_address x", "one thing to Mosquitto 2.0"),
        ("include_dir nowhere", "No such file or directory"),
        ("include_dir mosquitto.conf", "Not a directory"),
        *((f"{name} x", f"`{name}` has no place here") for name in directive.REFUSED),
        (b"\x00", "has zero bytes"),
        (b"\xff\xfe", "is not UTF-8"),
        ("#" * (2**20 + 1), "is larger than"),
    ],
)
def test_what_mosquitto_or_a_statement_could_not_take_is_named(tmp_path: Path, text: str | bytes, reason: str) -> None:
    with pytest.raises(BrokerError) as caught:
        read(tmp_path, text)
    assert reason in str(caught.value)
    assert str(tmp_path / "mosquitto.conf") in str(caught.value)


def test_an_include_inside_an_included_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match=r"a\.conf: line 1: `include_dir`"):
        read(tmp_path, "include_dir conf.d\n", a="include_dir conf.d\n")


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    for path, reason in ((tmp_path, "is a folder"), (tmp_path / "x", "No such file"), (Path("/dev/zero"), "a device")):
        with pytest.raises(BrokerError, match=reason):
            read_directives(path, tmp_path)


@pytest.mark.parametrize("value", ["65536", "x", "0", "-1", "9" * 30, "0 #x"])
def test_a_listener_that_is_none_is_named(value: str) -> None:
    with pytest.raises(BrokerError, match="`listener`"):
        listener_address(Section(Line(Path("f"), 1, "listener", value)))


NAMES = sorted(directive._BROKER - {"per_listener_settings"})
VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\n\0"), min_size=1, max_size=20).filter(
    lambda text: text.strip(directive._BLANKS) == text and text != ""
)


@given(st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=8))
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, lines: list[tuple[str, str]]) -> None:
    path = tmp_path_factory.mktemp("conf") / "mosquitto.conf"
    given = Directives(broker=Section(None, [Line(path, 0, name, value) for name, value in lines]))
    path.write_bytes(given.encode())
    assert pairs(read_directives(path).broker) == lines


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("conf") / "mosquitto.conf"
    path.write_bytes(data)
    try:
        read_directives(path, path.parent)
    except BrokerError as error:
        assert str(path) in str(error)
