"""`sigillo device simulate`: a fleet of wine-crate trackers."""

from __future__ import annotations

import json
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from sigillo.device.error import DeviceError
from sigillo.device.identity import check_device_id
from sigillo.device.message import FORMS, Form
from sigillo.device.misbehaviour import BEHAVIOURS, KINDS, MAX_BURST, MAX_SIZE, Mischief, Misdeeds

if TYPE_CHECKING:
    from sigillo.device.simulate import Fleet, Tally

_PROGRESS_S = 0.2
_KINDS = "\n".join(f"  {kind:15}{behaviour.summary}" for kind, behaviour in BEHAVIOURS.items())


@click.command(
    short_help="Let a fleet of trackers publish.",
    epilog=f"""\b
Kinds of misbehaviour:
{_KINDS}

\b
Examples:
  sigillo device simulate trackers/crate-1
  sigillo device simulate trackers/* --broker broker.example:8883 --count 10 --qos 2
  sigillo device simulate trackers/crate-1 --count 0      (send what is left in the outbox)
  sigillo device simulate trackers/crate-1 --count 5 --misbehave eight-bit --misbehave indefinite
""",
)
@click.argument(
    "devices", nargs=-1, required=True, type=click.Path(path_type=Path, file_okay=False), metavar="DEVICE..."
)
@click.option(
    "--broker", default="127.0.0.1:8883", show_default=True, metavar="HOST:PORT", help="Where the broker listens."
)
@click.option("--count", type=click.IntRange(0), help="Readings of each tracker.  [default: until Ctrl-C]")
@click.option(
    "--interval", type=click.FloatRange(0), default=1.0, show_default=True, help="Seconds between two readings."
)
@click.option("--qos", type=click.IntRange(0, 2), default=1, show_default=True, help="MQTT quality of service.")
@click.option("--form", type=click.Choice(FORMS), default="datagram", show_default=True, help="Form of the messages.")
@click.option("--protocol", type=click.Choice(["5", "311"]), default="5", show_default=True, help="MQTT 5 or 3.1.1.")
@click.option("--seed", type=int, default=1, show_default=True, help="Same seed, same readings.")
@click.option(
    "--patience",
    type=click.FloatRange(0),
    default=30.0,
    show_default=True,
    help="Seconds without any arrival before giving up.",
)
@click.option(
    "--misbehave",
    "kinds",
    multiple=True,
    type=click.Choice(KINDS),
    metavar="KIND",
    help="Do this wrong (below), against a broker on this machine only; may be repeated.",
)
@click.option("--other", default="another", show_default=True, metavar="ID", help="Device that `other-topic` poses as.")
@click.option(
    "--size",
    type=click.IntRange(0, MAX_SIZE),
    default=2 * 1024 * 1024,
    show_default=True,
    help="Bytes of each `huge` payload; a packet of MQTT has at most 268,435,455.",
)
@click.option(
    "--burst", type=click.IntRange(1, MAX_BURST), default=1000, show_default=True, help="Messages of each `flood`."
)
@click.option("--json", "as_json", is_flag=True, help="Output for programs.")
def simulate(
    *,
    devices: tuple[Path, ...],
    broker: str,
    count: int | None,
    interval: float,
    qos: int,
    form: str,
    protocol: str,
    seed: int,
    patience: float,
    kinds: tuple[str, ...],
    other: str,
    size: int,
    burst: int,
    as_json: bool,
) -> None:
    """Let the trackers in the folders DEVICE... travel and publish.

    Each signs its readings, connects over TLS with its own certificate, waits for acknowledgements, and after a lost
    connection sends again what was not acknowledged. What is left at the end stays in its outbox for the next run.
    An MQTT 3.1.1 broker cannot refuse a message by name, so there every acknowledgement counts as arrived.

    A tracker whose folder has its operator's log key (log.vkey) echoes the log's newest checkpoint in each message,
    once that has verified under the key.

    With --misbehave each reading still takes the next number, and is in the outbox until the broker has accepted it,
    altered or not; what is sent beside it uses no number; what `gap` skips is signed and thrown away. The kinds apply
    together, to every reading. The next run without it goes on after these numbers.

    Exit code: 0 everything arrived, 1 something was refused or not acknowledged, 2 a tracker could not travel at all.
    """
    try:
        from sigillo.device.link import Protocol, parse_address  # noqa: PLC0415  # the rest works without paho
        from sigillo.device.rogue import Rogue  # noqa: PLC0415  # as above
        from sigillo.device.simulate import Fleet, Plan, Tracker  # noqa: PLC0415  # as above
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "paho":
            raise
        raise DeviceError("simulate needs an MQTT client: run `pip install 'sigillo[broker]'`") from None
    plan = Plan(parse_address(broker), count, interval, qos, cast(Form, form), cast(Protocol, protocol), seed, patience)
    if len({folder.resolve() for folder in devices}) != len(devices):
        raise DeviceError("DEVICE...: a folder is named twice; one device cannot travel twice at a time")
    mischief = Mischief(tuple(dict.fromkeys(kinds)), check_device_id(other, "--other"), size, burst)
    fleet = Fleet(devices, plan, partial(Rogue, mischief) if kinds else Tracker)
    _travel(fleet, quiet=as_json or not sys.stderr.isatty())
    tallies = fleet.tallies
    click.echo(_json(tallies, qos) if as_json else _text(tallies, qos))
    click.get_current_context().exit(_exit_code(tallies))


def _travel(fleet: Fleet, *, quiet: bool) -> None:
    """Run the fleet to its end. The first Ctrl-C stops it in good order, the second leaves at once (exit code 130)."""
    fleet.start()
    try:
        while not fleet.wait(_PROGRESS_S):
            _progress(fleet.tallies, quiet=quiet)
    except KeyboardInterrupt:
        fleet.stop()
        while not fleet.wait(_PROGRESS_S):
            _progress(fleet.tallies, quiet=quiet)
    if not quiet:
        click.echo("\r\x1b[K", nl=False, err=True)


def _progress(tallies: list[Tally], *, quiet: bool) -> None:
    if not quiet:
        sent, arrived = sum(tally.sent for tally in tallies), sum(tally.arrived for tally in tallies)
        refused = sum(tally.refused.total() for tally in tallies)
        click.echo(
            f"\r\x1b[K{len(tallies)} trackers: sent {sent}, arrived {arrived}, refused {refused}", nl=False, err=True
        )


def _exit_code(tallies: list[Tally]) -> int:
    if any(tally.error and not tally.sent for tally in tallies):
        return 2
    return 0 if all(tally.good for tally in tallies) else 1


def _text(tallies: list[Tally], qos: int) -> str:
    arrived = "written (QoS 0: nobody acknowledges)" if qos == 0 else "acknowledged"
    lines = []
    for tally in tallies:
        line = f"{tally.device_id}: sent {tally.sent}, {tally.arrived} {arrived}, last number {tally.last_sequence}"
        if tally.resent:
            line += f", {tally.resent} sent again"
        if tally.refused:
            line += f", refused {_reasons(tally.refused)}"
        if tally.unsettled:
            line += f"; {tally.unsettled} in the outbox, which the next run sends"
        lines.append(line)
        if tally.beacon_size is not None:
            lines.append(f"  beacon: newest checkpoint echoed has {tally.beacon_size} entries")
        lines += [f"  beacon: {count} refused: {reason}" for reason, count in sorted(tally.beacon_refused.items())]
        lines += [_misdeeds_text(kind, misdeeds) for kind, misdeeds in tally.misdeeds.items()]
        if tally.error:
            lines.append(f"  error: {tally.error}")
    return "\n".join(lines)


def _misdeeds_text(kind: str, misdeeds: Misdeeds) -> str:
    line = f"  {kind}: sent {misdeeds.sent}, {misdeeds.accepted} accepted"
    if misdeeds.refused:
        line += f", refused {_reasons(misdeeds.refused)}"
    if misdeeds.disconnected:
        line += f", disconnected {misdeeds.disconnected} ×"
    return line


def _reasons(refused: Counter[str]) -> str:
    return ", ".join(f"{count} × {name}" for name, count in sorted(refused.items()))


def _json(tallies: list[Tally], qos: int) -> str:
    devices = [
        {
            "id": tally.device_id,
            "sent": tally.sent,
            "resent": tally.resent,
            "written": tally.arrived if qos == 0 else None,
            "acknowledged": tally.arrived if qos else None,
            "refused": dict(sorted(tally.refused.items())),
            "unsettled": tally.unsettled,
            "last_sequence": tally.last_sequence,
            "connections": tally.connections,
            "beacon": {"size": tally.beacon_size, "refused": dict(sorted(tally.beacon_refused.items()))},
            "misbehaviour": {kind: _misdeeds_fields(misdeeds) for kind, misdeeds in tally.misdeeds.items()},
            "error": tally.error or None,
        }
        for tally in tallies
    ]
    return json.dumps({"devices": devices}, ensure_ascii=False)


def _misdeeds_fields(misdeeds: Misdeeds) -> dict[str, object]:
    return {
        "sent": misdeeds.sent,
        "accepted": misdeeds.accepted,
        "refused": dict(sorted(misdeeds.refused.items())),
        "disconnected": misdeeds.disconnected,
    }
