"""How fast the log integrates entries: `python -m bench.log [--entries N] [--no-verify]`, split by phase.

The marks are made and put into a spool, as the plugin does it, before each round is measured. Peak memory is printed at
a tenth of the way and at the end: it does not grow with the log. What is not measured with --no-verify is the Ed25519
verification, which other processes could do; everything else stays.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import cbor2

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CHECKOUT))

from sigillo.core.bytes import domain  # noqa: E402 - found only once the checkout is on the path
from sigillo.core.cose import SALT  # noqa: E402
from sigillo.core.entry import Kind  # noqa: E402
from sigillo.core.mark import decode_mark, encode_mark_payload  # noqa: E402
from sigillo.log import history, writer  # noqa: E402
from sigillo.log.source import Source  # noqa: E402
from sigillo.log.store import Store  # noqa: E402
from sigillo.log.tree import Tree  # noqa: E402
from tests.log.operator import Operator  # noqa: E402

SEGMENT_SIZE = 8 * 1024 * 1024  # as `sigillo up` has it
PRINCIPALS = 100
CPU = "--cpu" in sys.argv
PHASES: dict[str, tuple[type, str]] = {
    "spool, decode, verify": (Source, "take"),
    "store": (Store, "append"),
    "tiles": (Tree, "write"),
}


class Marks:
    """Marks of one epoch, each signed: made without the checks of the encoder, which would take most of the time."""

    def __init__(self, operator: Operator) -> None:
        operator.start()
        operator.mark()
        self._operator = operator
        assert operator.broker.epoch
        self._epoch = operator.broker.epoch
        record = next(iter(operator.segment_path().read_bytes().split(b"\xd2\x84")[2:]))
        first = decode_mark(b"\xd2\x84" + record[: record.rindex(b"\x58\x40") + 66])
        self._protected, self._mark = first.sign1.protected_bytes, first.mark
        self._values: dict[int, Any] = dict(cbor2.loads(encode_mark_payload(first.mark)))
        self._chains = {first.mark.principal: (1, first.object_hash)}

    def add(self, count: int) -> None:
        """Put *count* more into the spool."""
        for sequence in range(self._epoch.sequence + 1, self._epoch.sequence + 1 + count):
            principal = f"crate-{sequence % PRINCIPALS}"
            number, previous = self._chains.get(principal, (0, self._epoch.epoch_id))
            values = self._values | {2: sequence, 7: principal, 11: number + 1, 12: previous}
            payload = cbor2.dumps(values | {3: self._mark.time_ns + sequence})
            signature = self._epoch.key.sign(cbor2.dumps(["Signature1", self._protected, b"", payload]))
            hashed = cbor2.dumps([self._protected, {}, payload, signature])
            whole = cbor2.dumps([self._protected, {SALT: bytes(16)}, payload, signature])
            self._chains[principal] = (
                number + 1,
                sha256(domain("mark") + len(hashed).to_bytes(8, "big") + hashed).digest(),
            )
            self._operator.record(Kind.MARK, sequence, b"\xd2" + whole)
        self._epoch.sequence += count


def timed(phases: dict[str, float]) -> Iterator[tuple[type, str, Callable[..., Any]]]:
    """Wrap what the phases are, so that each adds its seconds; yields what has to be put back."""
    for name, (owner, method) in PHASES.items():
        original = getattr(owner, method)

        def wrapped(*values: Any, _name: str = name, _original: Callable[..., Any] = original) -> Any:
            begin = _clock()
            try:
                return _original(*values)
            finally:
                phases[_name] += _clock() - begin

        setattr(owner, method, wrapped)
        yield owner, method, original


def run(entries: int, *, verify: bool) -> dict[str, Any]:
    """Integrate so many marks; seconds by phase, entries a second, peak memory in MiB at a tenth and at the end."""
    folder = Path(tempfile.mkdtemp(prefix="sigillo-bench-"))
    phases: dict[str, float] = defaultdict(float)
    restore = list(timed(phases))
    by_epoch_key = history.verify_by_epoch_key
    if not verify:
        history.verify_by_epoch_key = lambda *_: None
    try:
        operator = Operator(folder, SEGMENT_SIZE).create()
        marks = Marks(operator)
        done, seconds, tenth = 1, 0.0, 0
        with operator.open() as log:
            while done < entries:
                count = min(writer.MAX_ROUND, entries - done)
                marks.add(count)
                done += count
                begin = _clock()
                while log.round():
                    pass
                seconds += _clock() - begin
                tenth = tenth or (done >= entries / 10 and _peak_mib())
            size = log.checkpoint.head.size
    finally:
        history.verify_by_epoch_key = by_epoch_key
        for owner, method, original in restore:
            setattr(owner, method, original)
        shutil.rmtree(folder)
    if size < entries:
        raise SystemExit(f"bench: the log has {size} entries, not {entries}")
    phases["checkpoint and deletions"] = seconds - sum(phases.values())
    integration = seconds - phases["spool, decode, verify"]
    return {
        "entries": entries,
        "verified": verify,
        "seconds_of": "CPU" if CPU else "the clock",
        "entries_per_s": round(entries / seconds),
        "entries_per_s_of_integration": round(entries / integration),
        "seconds": {name: round(value, 2) for name, value in phases.items()},
        "peak_mib_at_a_tenth": tenth,
        "peak_mib": _peak_mib(),
    }


def _clock() -> float:
    return (time.process_time if CPU else time.perf_counter)()


def _peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure how fast the log integrates entries.")
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--no-verify", action="store_true", help="leave the verification of signatures out")
    parser.add_argument("--cpu", action="store_true", help="count the CPU's seconds: on a machine that others use too")
    options = parser.parse_args()
    print(json.dumps(run(options.entries, verify=not options.no_verify), indent=2))
