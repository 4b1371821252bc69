"""kill -9 of the witness under load, from two histories of one log: it never cosigns both."""

from __future__ import annotations

import http.client
import random
import threading
import time
from dataclasses import dataclass, field

from sigillo.core.errors import DecodeError
from sigillo.core.merkle import tree_root
from sigillo.core.witness import read_lines, read_size

from .rig import COMMON, SIZE, WitnessProcess, checkpoint, history, post, request

ROUNDS = 12
SENDERS = ("a", "b", "a", "b")


@dataclass
class Load:
    """Threads that each show one of the histories, and keep what was cosigned."""

    witness: WitnessProcess
    cosigned: list[tuple[int, str]] = field(default_factory=list)
    newest: int = 0
    ended: threading.Event = field(default_factory=threading.Event)

    def send(self, name: str, seed: int) -> None:
        chance, old = random.Random(seed), 0
        while not self.ended.is_set() and old < SIZE:
            size = min(SIZE, old + chance.randrange(3))
            try:
                answer = post(self.witness.url, request(old, size, name))
            except (OSError, http.client.HTTPException):
                time.sleep(0.01)  # it is being killed
                continue
            if answer.status == 200:
                read_lines(answer.body, checkpoint(size, name).note, self.witness.key)
                self.cosigned.append((size, name))
                old = size
            elif answer.status == 409:
                old = read_size(answer)


def test_no_two_histories_whatever_dies(witness: WitnessProcess) -> None:
    load = Load(witness)
    threads = [threading.Thread(target=load.send, args=(name, seed)) for seed, name in enumerate(SENDERS)]
    for thread in threads:
        thread.start()
    chance = random.Random(7)
    try:
        for _ in range(ROUNDS):
            time.sleep(chance.uniform(0.0, 0.2))
            witness.kill()
            before = max((size for size, _ in load.cosigned), default=0)
            witness.start()
            try:
                claimed = read_size(post(witness.url, request(0, 0)))
            except DecodeError:
                claimed = 0
            assert claimed >= before, "it has forgotten what it cosigned"
    finally:
        load.ended.set()
        for thread in threads:
            thread.join()
    roots: dict[int, bytes] = {}
    for size, name in load.cosigned:
        root = tree_root(size, history(name))
        assert roots.setdefault(size, root) == root
    assert len({name for size, name in load.cosigned if size > COMMON}) == 1
    assert max(roots) > COMMON, "the histories never parted"
