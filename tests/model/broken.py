"""Protocols with one thing wrong, the smallest bounds that show it, and what then does not hold.

A model that cannot fail proves nothing: each of these has to produce a counterexample.
"""

from __future__ import annotations

from typing import Any

from .state import Rules


def _broken(what: str, claim: str, **bounds: Any) -> Rules:
    defaults = {"marks": (2,), "kills": 0, "power_cuts": 0, "tokens": 0}
    return Rules(broken=frozenset({what}), claim=claim, **(defaults | bounds))


BROKEN = {
    "store not flushed": (_broken("skip I3", "start", power_cuts=1), "store holds"),
    "name of the store's segment not flushed": (_broken("skip S2", "start", power_cuts=1), "store holds"),
    "checkpoint before the tiles are flushed": (
        _broken("skip T2", "start", power_cuts=1),
        "tile of its checkpoint is torn",
    ),
    "names of the tiles not flushed": (_broken("skip T4", "start", power_cuts=1), "a tile of its checkpoint is gone"),
    "tile written in place": (_broken("tile written in place", "tiles"), "tile 0 reads torn"),
    "checkpoint renamed before it is flushed": (_broken("skip C3", "start", power_cuts=1), "its checkpoint is torn"),
    "name of the checkpoint not flushed": (_broken("skip C5", "durable", power_cuts=1), "1 was handed out"),
    "segment deleted before the store is flushed": (
        _broken("segment deleted early", "loss", strict=True, power_cuts=1),
        "delivered mark M1.1 is neither",
    ),
    "failed flush tried again": (
        _broken("failed flush tried again", "start", failures=1, power_cuts=1),
        "cannot start",
    ),
    "tail of the store trusted after a restart": (
        _broken("tail not rewritten", "start", failures=1, power_cuts=1),
        "store holds",
    ),
    "tail of the store thrown away": (_broken("tail thrown away", "agree", kills=1, tokens=1), "contradicted"),
    "rest behind the tail not cut off": (
        _broken("tail not cut", "order", power_cuts=1, kills=1, tokens=1),
        "M",
    ),
    "two logs without a lock": (_broken("no lock", "agree", writers=2, marks=(1,), tokens=1), "contradicted"),
    "epoch closed while its broker lives": (
        _broken("living epoch closed", "loss", marks=(1, 0)),
        "delivered mark M1.1 is neither",
    ),
    "epoch stated before the log has the last": (
        _broken("epoch stated before the log has the last", "order", marks=(1, 0), power_cuts=1, kills=1),
        "S2.0 says that epoch 1 ended with 1, logged are 0",
    ),
    "strict without a flush": (_broken("skip P2", "loss", strict=True, power_cuts=1), "delivered mark M1.1 is neither"),
    "strict without the names of the segments": (
        _broken("segment names not flushed", "loss", strict=True, power_cuts=1),
        "delivered mark M1.1 is neither",
    ),
}
"""Name → bounds with what is broken in them, and words of the fault."""
