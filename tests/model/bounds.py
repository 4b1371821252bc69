"""What is explored. QUICK is part of every `make test`; FULL takes minutes."""

from .state import Rules

QUICK = {
    "buffered": Rules(marks=(1, 0), kills=1, power_cuts=1, tokens=1),
    "strict": Rules(marks=(2, 0), kills=1, power_cuts=1, tokens=0, strict=True),
    "a flush fails": Rules(marks=(1, 0), kills=0, power_cuts=1, tokens=0, failures=1, strict=True),
}
FULL = {
    "buffered": Rules(marks=(2, 1), kills=2, power_cuts=1, tokens=0),
    "buffered, with tokens": Rules(marks=(2, 1), kills=1, power_cuts=1, tokens=1),
    "strict": Rules(marks=(2, 1), kills=2, power_cuts=1, tokens=0, strict=True),
    "strict, with tokens": Rules(marks=(2, 1), kills=1, power_cuts=1, tokens=1, strict=True),
    "three epochs": Rules(marks=(1, 1, 1), kills=1, power_cuts=1, tokens=0),
    "long spool": Rules(marks=(5,), kills=2, power_cuts=1, tokens=0, strict=True),
    "flushes fail": Rules(marks=(1, 1), kills=1, power_cuts=1, tokens=0, failures=1),
    "flushes fail, strict": Rules(marks=(1, 1), kills=1, power_cuts=1, tokens=0, failures=1, strict=True),
}
COPY = Rules(marks=(1, 1), kills=1, power_cuts=0, tokens=1, restores=1, claim="agree")
"""An operator restores an old copy of the folder: two histories, and nothing on the disk that shows it."""
COPY_WITNESSED = Rules(marks=(1, 1), kills=1, power_cuts=0, tokens=1, restores=1, claim="agree", witness=True)
