"""Write the vector files, and the worked examples at the end of the specs.

Run as `python -m tests.vector.make` after a format or a case has changed.
"""

from pathlib import Path

from tests.vector.accept import ACCEPT
from tests.vector.example import examples, with_example
from tests.vector.file import VECTORS, format_vector
from tests.vector.reject import REJECT


def files() -> dict[Path, str]:
    """Every vector file with its text."""
    made: dict[Path, str] = {}
    for verdict, formats in (("accept", ACCEPT), ("reject", REJECT)):
        for name, vectors in formats.items():
            for case, fields in vectors().items():
                made[VECTORS / name / verdict / f"{case}.txt"] = format_vector(fields)
    return made


def committed() -> set[Path]:
    """The vector files there are now."""
    return {path for name in ACCEPT for path in (VECTORS / name).rglob("*.txt")}


def main() -> None:
    """Write all files and remove those that no case makes any more."""
    made = files()
    for stale in committed() - made.keys():
        stale.unlink()
    for path, text in made.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for path, section in examples().items():
        path.write_text(with_example(path.read_text(encoding="utf-8"), section), encoding="utf-8")


if __name__ == "__main__":
    main()
