"""What a watcher remembers of a broker, and what of a new answer is a change (spec/challenge.md, "Watching").

Green: the newest challenge was attested, and nothing went backward since the first. Everything else is red.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final

from sigillo.core.canonical import canonical_object, encode_object
from sigillo.core.challenged import ChallengeVerdict
from sigillo.core.errors import DecodeError

VERSION: Final = 1
MAX_STATE: Final = 65_536
MAX_REASON: Final = 1000
"""Characters: less than a tenth of the state, however they are written."""
_FORMAT: Final = "sigillo-watch"


@dataclass(frozen=True, slots=True)
class Seen:
    """An attested answer. Hashes, names and firmware in lower-case hex; *clock_ms*, *resets*, *restarts*: the TPM's."""

    log_key: str
    attestation_key: str
    epoch: int
    epoch_id: str
    size: int
    root: str
    level: str
    executable: str
    plugin: str
    configuration: str
    clock_ms: int
    resets: int
    restarts: int
    firmware: str

    @classmethod
    def of(cls, verdict: ChallengeVerdict) -> Seen:
        """What an attested verdict shows."""
        quote, signed, head = verdict.quote, verdict.answer.statement, verdict.answer.checkpoint.head
        assert quote is not None  # of an attested verdict
        statement = signed.statement
        return cls(
            log_key=statement.log_key_id.hex(),
            attestation_key=quote.key.name.hex(),
            epoch=statement.number,
            epoch_id=signed.epoch_id.hex(),
            size=head.size,
            root=head.root.hex(),
            level=verdict.level,
            executable=statement.executable_hash.hex(),
            plugin=statement.plugin_hash.hex(),
            configuration=statement.configuration_hash.hex(),
            clock_ms=quote.clock.clock_ms,
            resets=quote.clock.reset_count,
            restarts=quote.clock.restart_count,
            firmware=f"{quote.firmware:016x}",
        )


@dataclass(frozen=True, slots=True)
class Watch:
    """*last*: the newest attested answer, None where there was none; *reason*: why red, empty where green.

    *backward*: something went backward once. That stays, until whoever watches begins anew.
    """

    last: Seen | None = None
    reason: str = "nothing was attested yet"
    backward: str = ""

    @property
    def is_green(self) -> bool:
        """Whether all is well."""
        return not (self.reason or self.backward)

    @property
    def why(self) -> str:
        """Why it is red."""
        return self.backward or self.reason


def silent(watch: Watch, reason: str) -> tuple[Watch, tuple[str, ...]]:
    """No answer, or one that attests nothing: red, and a change where it was green, or for another reason.

    *reason*: of any length, from anybody; what is kept of it is bounded, so that the state can be read again.
    """
    reason = reason[:MAX_REASON].encode("utf-8", "replace").decode()
    changed = (f"not attested: {reason}",) if reason != watch.reason else ()
    return Watch(watch.last, reason, watch.backward), changed


def answered(watch: Watch, verdict: ChallengeVerdict) -> tuple[Watch, tuple[str, ...]]:
    """A new verdict: what is remembered from here on, and what changed, in words."""
    if not verdict.attested:
        return silent(watch, verdict.reason)
    seen, last = Seen.of(verdict), watch.last
    changes = [f"attested: epoch {seen.epoch}, level {seen.level}"] if watch.reason else []
    backward = watch.backward
    if last:
        fault = _backward(last, seen)
        if fault:
            changes.append(fault)
            backward = backward or fault
        changes += _changes(last, seen)
    return Watch(seen, "", backward), tuple(changes)


def _backward(last: Seen, seen: Seen) -> str:
    """What can only have gone back, or be another history; empty: nothing."""
    if seen.log_key == last.log_key:
        if seen.size < last.size:
            return f"rollback: the log had {last.size} entries, and has {seen.size}"
        if seen.size == last.size and seen.root != last.root:
            return f"fork: two logs of {seen.size} entries, with different roots"
        if seen.epoch < last.epoch:
            return f"rollback: epoch {last.epoch} ran, and now epoch {seen.epoch}"
        if seen.epoch == last.epoch and seen.epoch_id != last.epoch_id:
            return f"fork: two epochs with number {seen.epoch}"
    if seen.attestation_key == last.attestation_key:
        before, now = (last.resets, last.restarts), (seen.resets, seen.restarts)
        if now < before or (now == before and seen.clock_ms < last.clock_ms):
            return "rollback: the TPM is an older state of itself"
    return ""


def _changes(last: Seen, seen: Seen) -> list[str]:
    found = []
    for name, what in (
        ("log_key", "log key"),
        ("attestation_key", "attestation key"),
        ("level", "level"),
        ("executable", "executable"),
        ("plugin", "plugin"),
        ("configuration", "configuration"),
        ("firmware", "firmware of the TPM"),
        ("epoch", "epoch"),
    ):
        before, now = getattr(last, name), getattr(seen, name)
        if before != now:
            found.append(f"changed: {what}, from {before} to {now}")
    if (seen.resets, seen.restarts) != (last.resets, last.restarts) and seen.attestation_key == last.attestation_key:
        found.append("changed: the TPM was reset or suspended")
    return found


def encode_watch(watch: Watch) -> bytes:
    """The state as canonical JSON, with its LF. Raises DecodeError for one that could not be read again."""
    last = None
    if watch.last:
        last = {field.name: getattr(watch.last, field.name) for field in fields(Seen)}
    value = {"format": _FORMAT, "version": VERSION, "last": last, "reason": watch.reason, "backward": watch.backward}
    data = encode_object(value, "watch") + b"\n"
    decode_watch(data)
    return data


def decode_watch(data: bytes) -> Watch:
    """Decode a state. Raises DecodeError: a state that is broken is never begun anew in silence."""
    if len(data) > MAX_STATE or not data.endswith(b"\n"):
        raise DecodeError("watch", f"is cut off, or longer than {MAX_STATE} bytes")
    value = canonical_object(data[:-1], "watch")
    if value.keys() != {"format", "version", "last", "reason", "backward"}:
        raise DecodeError("watch", "has other members than a state of `sigillo watch`")
    if value["format"] != _FORMAT or value["version"] != VERSION:
        raise DecodeError("watch, format", f'this program reads format "{_FORMAT}" version {VERSION}')
    for name in ("reason", "backward"):
        if not isinstance(value[name], str):
            raise DecodeError(f"watch, {name}", "must be text")
    return Watch(None if value["last"] is None else _seen(value["last"]), value["reason"], value["backward"])


def _seen(value: Any) -> Seen:
    names = {field.name: field.type for field in fields(Seen)}
    if not isinstance(value, dict) or value.keys() != names.keys():
        raise DecodeError("watch, last", "has other members than what was seen")
    for name, kind in names.items():
        if type(value[name]).__name__ != kind:
            raise DecodeError(f"watch, last, {name}", f"must be of type {kind}")
    return Seen(**value)
