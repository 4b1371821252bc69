"""Checkpoints of an operator, and of somebody who is not."""

from __future__ import annotations

from sigillo.core.checkpoint import SignedCheckpoint, TreeHead, sign_checkpoint

from ..adversary.broker import Broker

OPERATOR, FORGER = Broker(), Broker(seed="forger")


def checkpoint(size: int, root: int = 0, by: Broker = OPERATOR) -> SignedCheckpoint:
    head = TreeHead(by.log_key.name, size, bytes([root or size % 256]) * 32)
    return sign_checkpoint(head, by.log_key, by.log_private.sign)
