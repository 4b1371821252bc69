"""`python -m tests.model [--full]`: counts of every exploration, and the trace of every counterexample."""

import sys

from .bounds import COPY, COPY_WITNESSED, FULL, QUICK
from .broken import BROKEN
from .explore import explore


def main() -> None:
    bounds = {**(FULL if "--full" in sys.argv[1:] else QUICK), "old copy, witnessed": COPY_WITNESSED}
    bounds |= {name: rules for name, (rules, _) in BROKEN.items()} | {"old copy": COPY}
    for name, rules in bounds.items():
        print(f"{name}: {explore(rules)}", flush=True)


main()
