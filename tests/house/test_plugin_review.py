"""docs/plugin-review.md speaks of the plugin that is here: every file and function has its place, every name exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.house.checkout import CHECKOUT

PAGE = (CHECKOUT / "docs/plugin-review.md").read_text(encoding="utf-8")
PLUGIN = CHECKOUT / "plugin"
SOURCES = sorted([*PLUGIN.glob("*.[ch]"), *(PLUGIN / "core").glob("*.[ch]")])
FUNCTION = re.compile(r"^(?:EXPORT |static |inline )*(?:const |struct |enum )*\w+ \**(\w+)\([^;]*$", re.MULTILINE)
FILE = re.compile(r"(?:[\w.-]+/)*[\w-]+\.(?:c|h|py|md|txt|toml)|(?:[\w.-]+/)+")


def quoted() -> list[str]:
    """What the page has between backticks, in its prose and in its tables."""
    prose = re.sub(r"^```.*?^```", "", PAGE, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`]+)`", prose)


def words() -> set[str]:
    """Every word of the plugin, of its tests, and of the tests that load it."""
    folders = ("plugin", "plugin/core", "plugin/tests", "plugin/tests/adapter", "plugin/fuzz", "tests/plugin")
    files = [path for folder in folders for path in (CHECKOUT / folder).iterdir() if path.is_file()]
    return {word for path in files for word in re.findall(r"\w+", path.read_text(encoding="utf-8"))}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_every_file_has_a_section_and_every_function_a_word(path: Path) -> None:
    name = path.relative_to(PLUGIN).as_posix()
    sections = re.split(r"^## ", PAGE, flags=re.MULTILINE)
    (section,) = (part for part in sections if f"`{name}`" in part.splitlines()[0])
    named = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", section))))
    assert set(FUNCTION.findall(path.read_text(encoding="utf-8"))) <= named


def test_every_name_exists() -> None:
    known = words()
    for text in quoted():
        if FILE.fullmatch(text):
            assert any((folder / text).exists() for folder in (CHECKOUT, PLUGIN)), text
        else:
            assert set(re.findall(r"[A-Za-z_]\w+", text)) <= known, text


def test_it_names_tests_of_every_kind() -> None:
    named = set(quoted())
    for kind in ("plugin/tests/", "plugin/tests/adapter/", "tests/plugin/", "plugin/fuzz/"):
        assert any(name.startswith(kind) and (CHECKOUT / name).is_file() for name in named), kind
