"""The worked examples in the specs are the vectors they name."""

import re

import pytest

from tests.vector.example import SPECS, examples, with_example
from tests.vector.file import VECTORS, read_vector

NAMED = re.compile(
    r"\n## Worked example\n\n`(\w+)` of `vectors/(\S+)`, (\d+) bytes:\n\n```text\n(.*?)```\n$", re.DOTALL
)


@pytest.mark.parametrize(
    "spec", ["mark", "epoch", "log-entry", "datagram", "marked-datagram", "spool", "tlog-proof", "heads"]
)
def test_the_hex_is_the_vector(spec: str) -> None:
    found = NAMED.search((SPECS / f"{spec}.md").read_text(encoding="utf-8"))
    assert found, "no worked example at the end"
    field, path, size, lines = found.groups()
    shown = "".join(line.split()[0] for line in lines.splitlines())
    assert shown == read_vector(VECTORS / path)[field]
    assert len(shown) == 2 * int(size)


def test_the_annotations_are_what_make_writes() -> None:
    for path, section in examples().items():
        text = path.read_text(encoding="utf-8")
        assert with_example(text, section) == text
