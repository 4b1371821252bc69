"""What is kept of measured launches, and the lines of an evidence file that show them: `attestation/`.

Closures by object hash, configuration texts by SHA-256, launch logs: the one since the TPM's reset, and those before.
Evidence of an epoch needs its own for ever, so nothing here is removed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from sigillo import disk
from sigillo.broker.error import BrokerError
from sigillo.broker.folder import OperatorFolder
from sigillo.core.errors import AttestationError, DecodeError
from sigillo.core.event_log import EventLog, encode_event_log
from sigillo.core.evidence import MAX_CLOSURES, MAX_CONFIGURATIONS, MAX_LAUNCHES
from sigillo.core.evidence_line import (
    ClosureLine,
    ConfigurationLine,
    LaunchLine,
    RegistrationLine,
    SharedLine,
    shared_order,
)
from sigillo.core.launch import (
    Closure,
    EpochEvent,
    LaunchEvent,
    Role,
    decode_closure,
    decode_launch_event,
    decode_launch_log,
    encode_closure,
)

MAX_LOG: Final = 1024 * 1024
"""Bytes of a launch log that fit into a line; of a longer one evidence has none."""


def keep_parts(folder: OperatorFolder, closure: Closure, texts: Mapping[str, str]) -> None:
    """Keep what a launch is made of. *texts*: of configuration files that may be shown, by name. Raises OSError."""
    disk.replace(folder.closures / f"{closure.object_hash.hex()}.cbor", encode_closure(closure), disk.PUBLIC)
    for text in texts.values():
        data = text.encode()
        disk.replace(_text_path(folder, hashlib.sha256(data).digest()), data, disk.PUBLIC)


def launch_lines(folder: OperatorFolder, epochs: Iterable[bytes]) -> list[SharedLine]:
    """Evidence lines of the launches of these epochs (ids, 32 bytes each), as far as they were measured and kept.

    Raises BrokerError naming a file that cannot be used.
    """
    wanted, logs, hashes = frozenset(epochs), [], dict[bytes, None]()
    for path in (*sorted(folder.launches.glob("*.log")), folder.launch_log):
        found = _cut(_load_log(path), wanted, path)
        if found:
            logs.append(LaunchLine(encode_event_log(found[0].events)))
            hashes |= dict.fromkeys(found[1])
    if not logs:
        return []
    closures = [closure for hash_ in hashes if (closure := _load_closure(folder, hash_))][-MAX_CLOSURES:]
    texts = {line for closure in closures for line in _texts(folder, closure)}
    registered = _read(folder.registration)
    return [
        *([] if registered is None else [RegistrationLine(registered)]),
        *sorted({ClosureLine(encode_closure(closure)) for closure in closures}, key=shared_order),
        *sorted(texts, key=shared_order)[:MAX_CONFIGURATIONS],
        *sorted({line for line in logs if closures and len(line.log) <= MAX_LOG}, key=shared_order)[-MAX_LAUNCHES:],
    ]


def _cut(log: EventLog, wanted: frozenset[bytes], path: Path) -> tuple[EventLog, list[bytes]] | None:
    """The log up to the last of these epochs, and the closures of them; None where it has none of them."""
    end, hashes, launch = 0, [], None
    try:
        for at, logged in enumerate(log.events, start=1):
            event = decode_launch_event(logged)
            if isinstance(event, LaunchEvent):
                launch = event
            elif isinstance(event, EpochEvent) and event.epoch_id in wanted:
                end = at
                hashes += [launch.closure_hash] if launch else []
    except (AttestationError, DecodeError) as error:
        raise _damaged(path, error) from None
    return (EventLog(log.algorithms, log.events[:end]), hashes) if end else None


def _texts(folder: OperatorFolder, closure: Closure) -> Iterator[ConfigurationLine]:
    for member in closure.members:
        if member.role is Role.CONFIGURATION:
            data = _read(_text_path(folder, member.digest))
            if data is not None:
                yield ConfigurationLine(member.name, data.decode())


def _load_closure(folder: OperatorFolder, closure_hash: bytes) -> Closure | None:
    path = folder.closures / f"{closure_hash.hex()}.cbor"
    data = _read(path)
    if data is None:
        return None
    try:
        return decode_closure(data)
    except DecodeError as error:
        raise _damaged(path, error) from None


def _load_log(path: Path) -> EventLog:
    data = _read(path)
    try:
        return EventLog((), ()) if data is None else decode_launch_log(data)
    except (AttestationError, DecodeError) as error:
        raise _damaged(path, error) from None


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BrokerError(f"{path}: {error.strerror}; evidence of measured launches needs it") from None


def _damaged(path: Path, error: Exception) -> BrokerError:
    return BrokerError(f"{path}: {error}; put it back from your backup")


def _text_path(folder: OperatorFolder, digest: bytes) -> Path:
    return folder.configurations / f"{digest.hex()}.txt"
