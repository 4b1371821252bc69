"""TOML strings as they are written."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigillo.core.table import quote


@given(st.text(st.characters(codec="utf-8")))
def test_what_is_written_reads_back(text: str) -> None:
    assert tomllib.loads(f"key = {quote(text)}") == {"key": text}


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("Cantina Società", '"Cantina Società"'),
        ('a "b" \\ c', '"a \\"b\\" \\\\ c"'),
        ("line\nline", '"line\\u000aline"'),
        ("del\x7f", '"del\\u007f"'),
    ],
)
def test_what_is_escaped(text: str, quoted: str) -> None:
    assert quote(text) == quoted
