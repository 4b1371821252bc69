"""An operator that has all its keys and lies, among third parties that it does not control: real ones, and honest.

Time-stamp authorities are `sigillo tsa` with OpenSSL, whose clock is the story's true time; the witness is a process of
`sigillo witness`. The operator's log and epochs are those of :mod:`tests.adversary`: it signs whatever a lie needs.
"""

from __future__ import annotations

import datetime
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sigillo.core.bytes import base64url_decode
from sigillo.core.checkpoint import decode_checkpoint
from sigillo.core.entry import encode_entry
from sigillo.core.merkle import EMPTY_ROOT, Read, consistency_proof
from sigillo.core.note import Note, encode_note
from sigillo.core.policy import Policy, WitnessTrust
from sigillo.core.timestamp import TsaTrust
from sigillo.log.submission import WitnessAddress, WitnessError, cosign
from sigillo.log.timestamper import TsaAddress, obtain
from sigillo.log.tree import Tree

from ..witness.rig import WitnessProcess
from .accused import copy_of
from .broker import SECOND
from .cosigner import Witness
from .log import Log
from .third import MINUTE, ThirdStory

HOUR = 60 * MINUTE
_CLOCK = """\
#include <stdlib.h>
#include <sys/time.h>
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    (void)zone;
    now->tv_sec = atoll(getenv("TRUE_TIME"));
    now->tv_usec = 0;
    return 0;
}
"""
_OPENSSL = """\
#!/bin/sh
read -r TRUE_TIME < "{folder}/true-time"
export TRUE_TIME
LD_PRELOAD="{folder}/clock.so" exec "{openssl}" "$@"
"""


class Real:
    """A third party is the same one, however often the operator copies itself."""

    def __deepcopy__(self, _memo: dict[int, object]) -> Real:
        return self


@dataclass
class RealTsa(Real):
    """`sigillo tsa` over HTTP. Its clock stands where a test sets it: honest at the true time."""

    name: str
    folder: Path
    address: TsaAddress
    policy: str

    def trust(self) -> TsaTrust:
        return TsaTrust(self.name, self.address.roots, (self.policy,))

    def stamp(self, message: bytes, *, time: bytes, **_form: Any) -> bytes:
        """A token over *message*, asked for with a nonce and checked, as the log does."""
        moment = datetime.datetime.strptime(f"{time.decode()}+0000", "%Y%m%d%H%M%SZ%z")
        (self.folder / "true-time").write_text(f"{int(moment.timestamp())}\n")
        return obtain(self.address, message)[0]


@contextmanager
def tsa(name: str, folder: Path) -> Iterator[RealTsa]:
    """An authority of a root of its own, running."""
    folder.mkdir()
    (folder / "clock.c").write_text(_CLOCK)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", folder / "clock.so", folder / "clock.c"], check=True)
    openssl = folder / "openssl"
    openssl.write_text(_OPENSSL.format(folder=folder, openssl=shutil.which("openssl")))
    openssl.chmod(0o755)
    command = [sys.executable, "-m", "sigillo.cli.main", "tsa", str(folder / "tsa"), "--listen", "127.0.0.1:0"]
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    process = subprocess.Popen([*command, "--json"], env=environment, stdout=subprocess.PIPE)
    try:
        assert process.stdout
        said = json.loads(process.stdout.readline())
        address = TsaAddress(name, said["url"], (base64url_decode(said["root"]),))
        yield RealTsa(name, folder, address, said["policy"])
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


@dataclass
class RealWitness(Real):
    """`sigillo witness`, which the operator asks as a log does. *refusals*: what it answered instead."""

    process: WitnessProcess
    refusals: list[str] = field(default_factory=list)

    @property
    def trust(self) -> WitnessTrust:
        return WitnessTrust(self.process.key, "Example University", "w1")

    @property
    def accusations(self) -> list[Path]:
        return sorted((self.process.folder / "accusations").glob("*"))

    def ask(self, note: str, read: Read) -> str:
        """The signed note with its cosignature; as it was where it gives none."""
        signed = decode_checkpoint(note.encode())
        address = WitnessAddress(self.process.url, self.process.key)
        try:
            line = cosign(address, signed, 0, lambda old, new: consistency_proof(old, new, read))
        except WitnessError as refusal:
            self.refusals.append(str(refusal))
            return note
        return encode_note(Note(signed.note.text, (*signed.note.signatures, line))).decode()


@dataclass
class Hostile(ThirdStory):
    """The operator. Its day began six hours ago; *skew_ns*: how far its clock is behind the true time."""

    witness: RealWitness | None = None
    own: Witness = field(default_factory=lambda: Witness("own", "Example Broker"))

    def __post_init__(self) -> None:
        super().__post_init__()
        self.broker.clock_ns = int(time.time()) * SECOND - 6 * HOUR

    @property
    def demands(self) -> Policy:
        """Of a reader who demands everything: both TSAs, the witness, beacons, no mark withheld."""
        assert self.witness
        witnesses = (self.witness.trust, self.own.trust)
        return self.trust(witnesses=witnesses, witness_quorum=1)

    def begin(self) -> Hostile:
        """The epoch's first entry, anchored."""
        self.broker.start()
        self.log.sign()
        self.anchor()
        return self

    def deliver(self, rounds: int = 1) -> None:
        """Messages of all devices with fresh beacons, marked and logged."""
        for _ in range(rounds):
            for device in self.devices:
                self.signed(device)

    def end(self) -> Hostile:
        """A clean end, heads, anchored."""
        self.broker.stop()
        self.anchor()
        return self

    def day(self, rounds: int = 2) -> Hostile:
        """A whole day: what is shown of it verifies, unless somebody lies."""
        self.begin()
        self.deliver(rounds)
        self.anchor()
        return self.end()

    def cosigned(self) -> str:
        """The checkpoint over all, with the witness's cosignature where it gives one."""
        assert self.witness
        self.log.append()
        return self.witness.ask(self.log.note(), self.log.read)

    def shown(self, **changes: Any) -> bytes:
        """The evidence file of all, or of what a test changes."""
        return self.file(**{"note": self.cosigned(), **changes})

    def forget(self) -> None:
        """Deliver the newest mark, and never log it."""
        self.broker.signed.pop()

    def restored(self) -> Hostile:
        """The same operator, put back as it is now from a backup: whatever this one does from here on is gone there."""
        return copy_of(self)


def publish(log: Log, folder: Path) -> Path:
    """The public files of a log, as a web server has them."""
    log.append()
    folder.mkdir()
    tree = Tree(folder, 0, EMPTY_ROOT)
    for entry in log.entries:
        tree.append(encode_entry(entry))
    tree.write()
    tree.close()
    (folder / "checkpoint").write_text(log.note())
    return folder
