"""What verification of a message costs beside the two bare signature checks that nobody can do without."""

from __future__ import annotations

import time
from collections.abc import Callable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sigillo.core.verify import verify
from tests.adversary.broker import NOW_NS, Broker
from tests.adversary.device import Device, p256_key

MESSAGES = 200


def bare_signatures() -> Callable[[], None]:
    """One Ed25519 and one ECDSA P-256 verification for each of MESSAGES messages."""
    ed25519, p256 = Ed25519PrivateKey.from_private_bytes(bytes(32)), p256_key("bench")
    message = bytes(300)
    signatures = ed25519.sign(message), p256.sign(message, ECDSA(hashes.SHA256()))
    public = ed25519.public_key(), p256.public_key()

    def run() -> None:
        try:
            for _ in range(MESSAGES):
                public[0].verify(signatures[0], message)
                public[1].verify(signatures[1], message, ECDSA(hashes.SHA256()))
        except InvalidSignature as error:
            raise SystemExit("bench: a signature made here does not verify") from error

    return run


def whole_verification() -> Callable[[], None]:
    """An evidence file with MESSAGES messages of one P-256 device, all steps."""
    broker, device = Broker(), Device("crate-1", "p256")
    for _ in range(MESSAGES):
        broker.publish(device)
    lines, policy = broker.file().splitlines(), broker.policy(device)

    def run() -> None:
        verify(iter(lines), policy, NOW_NS)

    return run


def seconds(work: Callable[[], None]) -> float:
    """CPU seconds of this process for one call."""
    start = time.process_time()
    work()
    return time.process_time() - start
