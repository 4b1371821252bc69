"""The documents: links lead somewhere, indexes are complete, files that they name exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.house.checkout import CHECKOUT, documents, our_files

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def anchors(path: Path) -> set[str]:
    """The anchors of a Markdown file's headings, as web sites make them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_links_lead_somewhere(path: Path) -> None:
    for link in LINK.findall(path.read_text(encoding="utf-8")):
        if "://" in link or link.startswith("mailto:"):
            continue
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


@pytest.mark.parametrize("folder", ["spec", "docs/adr"])
def test_index_names_every_file(folder: str) -> None:
    index = (CHECKOUT / folder / "README.md").read_text(encoding="utf-8")
    for path in (CHECKOUT / folder).glob("*.md"):
        assert path.name == "README.md" or f"]({path.name})" in index, path.name


def test_every_folder_of_vectors_is_specified() -> None:
    spec = "".join(path.read_text(encoding="utf-8") for path in (CHECKOUT / "spec").glob("*.md"))
    for path in (CHECKOUT / "vectors").iterdir():
        if path.is_dir():
            assert f"vectors/{path.name}/" in spec, path.name


@pytest.mark.parametrize("path", sorted((CHECKOUT / "spec").glob("*.md")), ids=lambda path: path.name)
def test_vectors_that_a_spec_names_are_there(path: Path) -> None:
    for name in re.findall(r"`vectors/([\w-]+)/", path.read_text(encoding="utf-8")):
        for kind in ("accept", "reject"):
            assert any((CHECKOUT / "vectors" / name / kind).glob("*")), f"{name}/{kind}"


def test_tests_of_the_founding_table_exist() -> None:
    table = (CHECKOUT / "docs/certified-run.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[\w/.]+)`", table)
    assert named
    for name in named:
        assert (CHECKOUT / name).exists(), name
    for row in re.findall(r"^\| (?!the text|---).*$", table, re.MULTILINE):
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert ("tests/" in cells[2]) != cells[1].startswith("not yet"), row


def test_files_that_the_architecture_names_exist() -> None:
    text = (CHECKOUT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    for name in re.findall(r"`((?:[\w-]+/)+[\w-]+\.(?:py|c|md|json))`", text):
        assert (CHECKOUT / name).exists() or (CHECKOUT / "src/sigillo" / name).exists(), name


def test_each_format_in_core_names_its_specification() -> None:
    no_format = {"__init__.py", "field.py", "ledger.py", "published.py"}
    for path in (CHECKOUT / "src/sigillo/core").glob("*.py"):
        named = re.search(r"spec/[\w-]+\.|RFC \d+|C2SP|MQTT 5", path.read_text(encoding="utf-8"))
        assert named or path.name in no_format, path.name


def test_no_personal_path_and_nothing_left_to_do() -> None:
    personal = re.compile(r"/(?:home|Users|root)/\w")
    unfinished = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
    for path in our_files():
        if path.suffix in {".py", ".c", ".h", ".md", ".sh", ".toml", ".txt", ".in", ".json", ""}:
            text = path.read_text(encoding="utf-8", errors="replace")
            assert not personal.search(text), path
            assert not unfinished.search(text), path


def test_glossary_is_in_order() -> None:
    text = (CHECKOUT / "docs/glossary.md").read_text(encoding="utf-8")
    words = [word.lower() for word in re.findall(r"^\| \*\*(.+?)\*\*", text, re.MULTILINE)]
    assert len(words) == len(set(words))
    assert words == sorted(words)
