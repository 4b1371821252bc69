"""spec/booted.md, "Platforms": the tables of a policy, both ways; and each thing that is wrong with one, by its key."""

from __future__ import annotations

import dataclasses
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigillo.core.errors import PolicyError
from sigillo.core.platform_trust import (
    OPTIONAL,
    REQUIRED,
    PlatformTrust,
    decode_platforms,
    platform_lines,
    switches_on_ima,
)
from sigillo.core.table import Table, decode_toml

from ..adversary.machine import COMMAND_LINE, OPERATOR, Machine
from ..vector.key import filler

HEX = filler("value").hex()
BOOT = "\n".join(f'pcr{index} = ["{HEX}"]' for index in REQUIRED)
GOOD = f"""[[platform]]
operator = "Example Broker"
name = "appliance 3"
command_line = ["quiet ima_policy=tcb"]
files = ["{HEX}"]
[platform.boot]
{BOOT}
"""

hashes = st.binary(min_size=32, max_size=32).filter(any)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
lines = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=20).map(
    lambda text: f"ima_policy=tcb {text.replace(chr(34), '')}"
)


def some(values: st.SearchStrategy[bytes]) -> st.SearchStrategy[tuple[bytes, ...]]:
    return st.lists(values, min_size=1, max_size=3).map(tuple)


@st.composite
def platforms(draw: st.DrawFn) -> list[PlatformTrust]:
    boot = st.fixed_dictionaries(dict.fromkeys(REQUIRED, some(hashes)), optional=dict.fromkeys(OPTIONAL, some(hashes)))
    found = draw(
        st.lists(
            st.builds(
                PlatformTrust,
                names,
                names,
                boot,
                st.lists(lines, min_size=1, max_size=3).map(tuple),
                st.frozensets(hashes, max_size=3),
            ),
            max_size=3,
            unique_by=lambda platform: (platform.operator, platform.name),
        )
    )
    return [dataclasses.replace(platform, boot=MappingProxyType(dict(platform.boot))) for platform in found]


def decode(text: str) -> tuple[PlatformTrust, ...]:
    top = Table(decode_toml(text.encode()), "")
    found = decode_platforms(top)
    top.end()
    return found


@given(platforms())
def test_round_trip(found: list[PlatformTrust]) -> None:
    decoded = decode("\n".join(platform_lines(found)))
    assert list(map(comparable, decoded)) == list(map(comparable, found))


def comparable(platform: PlatformTrust) -> tuple[object, ...]:
    return (platform.operator, platform.name, dict(platform.boot), platform.command_lines, platform.files)


anything = st.recursive(
    st.sampled_from([True, 0, -1, 0.5, "", "a", HEX, HEX.upper(), "ima_tcb", "ima_tcb\n"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["pcr0", "pcr4", "x"]), inner),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["operator", "name", "boot", "command_line", "files", "x"]), anything))
def test_other_tables_are_refused(table: dict[str, object]) -> None:
    with pytest.raises(PolicyError, match=r"^platform\[1\]"):
        decode_platforms(Table({"platform": [table]}, ""))


def test_none_is_none() -> None:
    assert decode("") == ()
    assert list(platform_lines([])) == []


def test_zeros_are_what_a_pcr_holds_without_a_boot_loader() -> None:
    (platform,) = decode(GOOD.replace(f'pcr8 = ["{HEX}"]', f'pcr8 = ["{bytes(32).hex()}"]'))
    assert platform.boot[8] == (bytes(32),)
    assert platform.operator == OPERATOR


REFUSED = {
    "no table": ("platform = [1]\n", "platform[1]"),
    "no operator": (GOOD.replace('operator = "Example Broker"\n', ""), "platform[1].operator"),
    "empty operator": (GOOD.replace("Example Broker", ""), "platform[1].operator"),
    "no name": (GOOD.replace('name = "appliance 3"\n', ""), "platform[1].name"),
    "name too long": (GOOD.replace("appliance 3", "a" * 256), "platform[1].name"),
    "name twice": (GOOD + GOOD, "platform[2].name"),
    "no boot": (GOOD[: GOOD.index("[platform.boot]")], "platform[1].boot"),
    "boot of no table": (GOOD[: GOOD.index("[platform.boot]")] + "boot = []\n", "platform[1].boot"),
    "unknown key": (GOOD.replace("files", "file"), "platform[1].file"),
    "unknown pcr": (GOOD + f'pcr10 = ["{HEX}"]\n', "platform[1].boot.pcr10"),
    "pcr empty": (GOOD.replace(f'pcr4 = ["{HEX}"]', "pcr4 = []"), "platform[1].boot.pcr4"),
    "pcr optional and empty": (GOOD + "pcr1 = []\n", "platform[1].boot.pcr1"),
    "pcr of another length": (GOOD.replace(HEX, HEX[:-2], 2), "platform[1].boot.pcr0"),
    "pcr in capitals": (GOOD + f'pcr1 = ["{HEX.upper()}"]\n', "platform[1].boot.pcr1"),
    "pcr of zeros": (GOOD + f'pcr1 = ["{bytes(32).hex()}"]\n', "platform[1].boot.pcr1"),
    "pcr of a number": (GOOD + "pcr1 = [1]\n", "platform[1].boot.pcr1"),
    "pcr no list": (GOOD + f'pcr1 = "{HEX}"\n', "platform[1].boot.pcr1"),
    "no command line": (GOOD.replace('command_line = ["quiet ima_policy=tcb"]\n', ""), "platform[1].command_line"),
    "command line empty": (GOOD.replace('["quiet ima_policy=tcb"]', "[]"), "platform[1].command_line"),
    "command line of a number": (GOOD.replace('["quiet ima_policy=tcb"]', "[1]"), "platform[1].command_line"),
    "command line without a policy": (GOOD.replace("ima_policy=tcb", "ima_hash=sha256"), "platform[1].command_line"),
    "command line with a line feed": (GOOD.replace("quiet ", "quiet\\n"), "platform[1].command_line"),
    "command line with an accent": (GOOD.replace("quiet", "però"), "platform[1].command_line"),
    "command line too long": (GOOD.replace("quiet", "q" * 4096), "platform[1].command_line"),
    "files empty": (GOOD.replace(f'files = ["{HEX}"]', "files = []"), "platform[1].files"),
    "files of another length": (GOOD.replace(f'files = ["{HEX}"]', 'files = ["00"]'), "platform[1].files"),
    **{
        f"no pcr {index}": (GOOD.replace(f'pcr{index} = ["{HEX}"]\n', ""), f"platform[1].boot.pcr{index}")
        for index in REQUIRED
    },
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_is_named(name: str) -> None:
    text, field = REFUSED[name]
    assert text != GOOD
    with pytest.raises(PolicyError) as caught:
        decode(text)
    assert caught.value.field == field


def test_a_platform_that_asks_for_nothing_cannot_be_made() -> None:
    good = Machine().platform()
    for changes in (
        {"boot": {}},
        {"boot": {**good.boot, 10: (filler("ima"),)}},
        {"command_lines": ()},
        {"command_lines": ("quiet",)},
    ):
        with pytest.raises(PolicyError):
            dataclasses.replace(good, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "line",
    [
        COMMAND_LINE,
        "ima_tcb",
        "ima_policy=tcb",
        "ima_policy=secure_boot|tcb",
        'ima_policy="appraise_tcb tcb" quiet',
        'dyndbg="file x +p" ima_policy=tcb',
    ],
)
def test_command_lines_with_which_programs_are_measured(line: str) -> None:
    assert switches_on_ima(line)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "quiet",
        "ima_policy=",
        "ima_policy=appraise_tcb",
        "ima_policy=critical_data",
        "ima_policy=tcb2",
        "xima_policy=tcb",
        "ima_policy tcb",
        "init=/bin/sh -- ima_policy=tcb",
        'motto="we say ima_policy=tcb here"',
        'motto="we say ima_policy=tcb',
        "ima_tcb=0",
    ],
)
def test_command_lines_with_which_they_are_not(line: str) -> None:
    assert not switches_on_ima(line)
