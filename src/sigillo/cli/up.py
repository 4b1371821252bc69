"""`sigillo up`: run the certified broker of an operator folder."""

from __future__ import annotations

import datetime
import os
import shutil
from pathlib import Path

import click

from sigillo.broker.account import Accounts, choose_accounts
from sigillo.broker.anchor_process import address_of
from sigillo.broker.build_manifest import check_programs, load_manifest
from sigillo.broker.clock import ClockSource, sample
from sigillo.broker.closure import measure_closure
from sigillo.broker.configuration import Configuration, file_hash, read_configuration
from sigillo.broker.derivation import derive_configuration
from sigillo.broker.error import BrokerError
from sigillo.broker.event import Event, EventName, Report
from sigillo.broker.folder import OperatorFolder
from sigillo.broker.installation import check_certificate, install, install_plugin, locked
from sigillo.broker.launcher import Plan
from sigillo.broker.settings import (
    CARRIERS,
    DEFAULT_FILTER,
    DURABILITY,
    ON_BAD_CLOCK,
    Settings,
    TsaSetting,
    load,
    merge,
    witness_address,
)
from sigillo.broker.supervise import Supervisor
from sigillo.cli.up_text import Narrator
from sigillo.core.manifest import SignedManifest
from sigillo.core.statement import MarkedFilter
from sigillo.log.submission import WitnessAddress

_FILE = click.Path(path_type=Path, dir_okay=False)
_WARN_DAYS = 30


@click.command(
    short_help="Run the certified broker (operator).",
    epilog="""\b
Examples:
  sigillo up /var/lib/sigillo --name broker.example.org --listen 0.0.0.0:8883 --operator "Example Broker"
  sigillo up /var/lib/sigillo
  sigillo up operator --name localhost --on-bad-clock mark-unsynchronised
  sigillo up /var/lib/sigillo --name broker.example.org --witness "https://witness.example.org=$(cat witness.vkey)"
  sigillo up /var/lib/sigillo --name broker.example.org --conf /etc/mosquitto/mosquitto.conf
""",
)
@click.argument("directory", metavar="[DIR]", default="operator", type=click.Path(path_type=Path, file_okay=False))
@click.option("--name", help="Host name of the broker: in its certificate and the log's origin. Needed the first time.")
@click.option("--listen", metavar="ADDR:PORT", help="Where to listen.  [default: 127.0.0.1:8883]")
@click.option(
    "--conf",
    type=_FILE,
    help="Certify the broker of your own mosquitto.conf; then --listen is where the archive connects.  "
    "[default there: 127.0.0.1:18883]",
)
@click.option("--operator", help="Who runs this broker, as every verdict will name it.  [default: the name]")
@click.option(
    "--on-bad-clock",
    type=click.Choice(ON_BAD_CLOCK),
    help="While the clock is not synchronised: refuse messages, or mark them as such.  [default: refuse]",
)
@click.option(
    "--durability",
    type=click.Choice(DURABILITY),
    help="What an acknowledged mark survives: the death of every process, or also a power cut (one flush for each "
    "message).  [default: buffered]",
)
@click.option(
    "--http",
    metavar="ADDR:PORT",
    help='Where the log is served, on loopback; "" for nowhere.  [default: 127.0.0.1:8380]',
)
@click.option("--filter", "topics", multiple=True, metavar="FILTER", help="Topics to mark; may be repeated.")
@click.option(
    "--carrier", type=click.Choice(list(CARRIERS)), help="How marks of these topics travel.  [default: property]"
)
@click.option(
    "--raw-tokens",
    is_flag=True,
    default=None,
    help="Carrier datagram: tokens of 64 bytes, for readers of the existing format.",
)
@click.option("--max-rate", type=int, metavar="N", help="Most messages a second of one principal.  [default: no limit]")
@click.option("--max-payload", type=int, metavar="BYTES", help="Largest payload.  [default: no limit]")
@click.option(
    "--bridge-principal",
    "bridge_principals",
    multiple=True,
    metavar="NAME",
    help="A bridge whose marks of another broker are kept; may be repeated.",
)
@click.option(
    "--keep-entries",
    type=int,
    metavar="N",
    help="Newest entries of the log whose marks are kept; older ones go, in whole segments.  [default: all]",
)
@click.option(
    "--tsa",
    "tsas",
    multiple=True,
    metavar="URL",
    help="A time-stamp authority (RFC 3161) that anchors the log; may be repeated.",
)
@click.option(
    "--tsa-crl",
    "tsa_crls",
    multiple=True,
    metavar="PLACE",
    help="A revocation list of the one --tsa, kept with its tokens: an absolute path, or a URL; may be repeated.",
)
@click.option("--anchor-interval", type=int, metavar="SECONDS", help="Between two tokens of one.  [default: 60]")
@click.option(
    "--witness",
    "witnesses",
    multiple=True,
    metavar="URL=VKEY",
    help="A witness that is asked to cosign the log; may be repeated.",
)
@click.option(
    "--cosign-interval",
    type=int,
    metavar="SECONDS",
    help="From one asking of the witnesses to the next.  [default: 10]",
)
@click.option(
    "--cosign-quorum", type=int, metavar="K", help="Cosignatures that a checkpoint should have.  [default: 1]"
)
@click.option(
    "--manifest", type=_FILE, help="Build manifest of the program and the plugin: nothing else is run, epochs name it."
)
@click.option(
    "--tpm",
    type=_FILE,
    help="Measure each launch into this TPM: /dev/tpmrm0, or the socket of a software TPM.  [default: none]",
)
@click.option("--quote-interval", type=int, metavar="SECONDS", help="Between two quotes of the TPM.  [default: 60]")
@click.option("--mosquitto", "executable", type=_FILE, help="The broker's program.  [default: /usr/sbin/mosquitto]")
@click.option(
    "--plugin", type=_FILE, envvar="SIGILLO_PLUGIN", show_envvar=True, help="Plugin to copy into DIR the first time."
)
@click.option("--update-plugin", is_flag=True, help="Replace the copy in DIR; the next epochs state another hash.")
@click.option("--json", "as_json", is_flag=True, help="Events for programs: one JSON object per line.")
@click.pass_context
def command(
    context: click.Context,
    *,
    directory: Path,
    name: str | None,
    listen: str | None,
    operator: str | None,
    on_bad_clock: str | None,
    durability: str | None,
    http: str | None,
    conf: Path | None,
    topics: tuple[str, ...],
    carrier: str | None,
    raw_tokens: bool | None,
    max_rate: int | None,
    max_payload: int | None,
    bridge_principals: tuple[str, ...],
    keep_entries: int | None,
    tsas: tuple[str, ...],
    tsa_crls: tuple[str, ...],
    anchor_interval: int | None,
    witnesses: tuple[str, ...],
    cosign_interval: int | None,
    cosign_quorum: int | None,
    manifest: Path | None,
    tpm: Path | None,
    quote_interval: int | None,
    executable: Path | None,
    plugin: Path | None,
    update_plugin: bool,
    as_json: bool,
) -> None:
    """Run Mosquitto with the Sigillo plugin on the operator folder DIR, until Ctrl-C.

    The first run makes DIR: a complete configuration, a local CA, the log key. Later runs take everything from there;
    an option that says something else is an error. As root the broker runs as user mosquitto, the rest as user sigillo.
    SIGHUP ends the epoch and begins another, with every file read anew.

    Exit code: 0 stopped as asked, 1 a part of it died, 2 it could not start.
    """
    given: dict[str, object] = {
        "name": name,
        "listen": listen,
        "operator": operator,
        "on_bad_clock": on_bad_clock,
        "durability": durability,
        "http": http,
        "conf": str(conf.absolute()) if conf else None,
        "filters": _filters(topics, carrier),
        "raw_tokens": raw_tokens,
        "max_rate": max_rate,
        "max_payload": max_payload,
        "bridge_principals": tuple(sorted(bridge_principals)) or None,
        "keep_entries": keep_entries,
        "tsa": _tsas(tsas, tsa_crls),
        "anchor_interval": anchor_interval,
        "manifest": str(manifest.absolute()) if manifest else None,
        "tpm": str(tpm.absolute()) if tpm else None,
        "quote_interval": quote_interval,
        "executable": str(executable.absolute()) if executable else None,
        "witness": tuple(map(_witness, witnesses)) or None,
        "cosign_interval": cosign_interval,
        "cosign_quorum": cosign_quorum,
    }
    start = Path.cwd()
    folder = OperatorFolder.at(directory)
    settings = merge(folder.settings, {option: value for option, value in given.items() if value is not None})
    if tsa_crls and settings.tsa[0].crls != tsa_crls:
        raise BrokerError(f"{folder.settings}: crls of tsa are others than --tsa-crl says; leave the option out")
    _check_executable(settings)
    report: Report = _print_json if as_json else Narrator(folder)
    _check_clock(sample(), settings, folder)
    accounts = _accounts(folder.path)
    with locked(folder.path) as lock:
        _prepare(folder, settings, accounts, plugin, report, update_plugin=update_plugin)
        went_well = Supervisor(accounts, lock, report).run(lambda: _plan(folder, accounts, start))
    context.exit(0 if went_well else 1)


def _accounts(path: Path) -> Accounts:
    """Make the folder if need be, and choose who runs what in it. Raises BrokerError, and leaves no new folder then."""
    if path.is_dir():
        if any(path.iterdir()) and not OperatorFolder.at(path).settings.exists():
            raise BrokerError(f"{path}: has files in it, but no sigillo.toml: it is no operator folder; name a new one")
        return choose_accounts(path)
    path.mkdir(parents=True)
    path.chmod(0o755)
    try:
        return choose_accounts(path)
    except BrokerError:
        path.rmdir()
        raise


def _prepare(
    folder: OperatorFolder,
    settings: Settings,
    accounts: Accounts,
    plugin: Path | None,
    report: Report,
    *,
    update_plugin: bool,
) -> None:
    status = folder.path.stat()
    if status.st_mode & 0o002:
        raise BrokerError(f"{folder.path}: everybody may write in it; forbid that: chmod o-w {folder.path}")
    if os.geteuid() == 0 and status.st_uid != 0:
        raise BrokerError(f"{folder.path}: belongs to user {status.st_uid}, who could replace what root runs; chown it")
    written = install(folder, settings, accounts)
    if written:
        report(Event(EventName.WRITTEN, {"files": [str(path.relative_to(folder.path)) for path in written]}))
    refused = install_plugin(folder, plugin, update=update_plugin)
    if refused and _is_explicit_plugin():
        raise BrokerError(
            f"{folder.plugin}: is another plugin (sha256 {file_hash(folder.plugin).hex()}) than {plugin} "
            f"({refused.hex()}); to run that one from now on, say --update-plugin"
        )
    if refused:
        report(Event(EventName.OTHER_PLUGIN, {"file": str(plugin), "sha256": refused.hex()}))
    days = check_certificate(folder, datetime.datetime.now(datetime.UTC))
    if days < _WARN_DAYS:
        report(Event(EventName.CERTIFICATE_ENDS, {"days": days}))
    report(
        Event(
            EventName.ACCOUNTS,
            {
                "broker": accounts.broker.name,
                "rest": accounts.rest.name,
                "separated": accounts.separated,
                "reason": accounts.reason,
            },
        )
    )


def _is_explicit_plugin() -> bool:
    source = click.get_current_context().get_parameter_source("plugin")
    return source is click.core.ParameterSource.COMMANDLINE


def _filters(topics: tuple[str, ...], carrier: str | None) -> tuple[MarkedFilter, ...] | None:
    if not topics and not carrier:
        return None
    return tuple(MarkedFilter(topic, carrier=CARRIERS[carrier or "property"]) for topic in topics or (DEFAULT_FILTER,))


def _tsas(urls: tuple[str, ...], crls: tuple[str, ...]) -> tuple[TsaSetting, ...] | None:
    if crls and len(urls) != 1:
        raise BrokerError("--tsa-crl: needs one --tsa, whose list it is; for more, set crls in sigillo.toml")
    return tuple(TsaSetting.at(url, crls) for url in urls) or None


def _witness(text: str) -> WitnessAddress:
    url, equals, vkey = text.partition("=")
    if not equals:
        raise BrokerError(f"--witness {text}: must be URL=VKEY, as http://127.0.0.1:8390=witness.example+0123abcd+BA…")
    return witness_address("--witness", url, vkey)


def _plan(folder: OperatorFolder, accounts: Accounts, start: Path) -> Plan:
    """What the next epoch states; read and hashed now, just before it starts. *start*: where `up` was started."""
    settings = load(folder.settings)
    for tsa in settings.tsa:
        address_of(tsa)  # its certificates can be read
    clock = sample()
    _check_clock(clock, settings, folder)
    configuration = _configuration(folder, settings, accounts, start)
    program = Path(settings.executable)
    executable, plugin = file_hash(program), file_hash(folder.plugin)
    return Plan(
        folder=folder,
        settings=settings,
        configuration=configuration,
        executable_hash=executable,
        plugin_hash=plugin,
        clock=clock,
        separated=accounts.separated,
        manifest=_manifest(folder, settings, executable, plugin),
        closure=measure_closure(program, folder.plugin, configuration) if settings.tpm else None,
    )


def _manifest(folder: OperatorFolder, settings: Settings, executable: bytes, plugin: bytes) -> SignedManifest | None:
    """The build manifest that the settings name, if what is to run is what it says. Raises BrokerError."""
    if not settings.manifest:
        return None
    path = Path(settings.manifest)
    signed = load_manifest(path)
    check_programs(signed, path, (Path(settings.executable), executable), (folder.plugin, plugin))
    return signed


def _configuration(folder: OperatorFolder, settings: Settings, accounts: Accounts, start: Path) -> Configuration:
    if settings.conf:
        return derive_configuration(folder, settings, accounts.broker, start)
    return read_configuration(folder, settings.listen)


def _check_clock(clock: ClockSource, settings: Settings, folder: OperatorFolder) -> None:
    if clock.synchronised or settings.on_bad_clock != "refuse":
        return
    where = f'on_bad_clock = "mark-unsynchronised" in {folder.settings}'
    if not folder.settings.exists():
        where = "--on-bad-clock mark-unsynchronised"
    raise BrokerError(
        f"the kernel says that this machine's clock is not synchronised (time daemon: {clock.daemon}). Run chrony with "
        f"rtcsync; or, to mark messages all the same, with marks that say so, set {where}"
    )


def _check_executable(settings: Settings) -> None:
    if not os.access(settings.executable, os.X_OK):
        found = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
        remedy = f"name it with --mosquitto {found}" if found else "install Mosquitto (Debian: apt install mosquitto)"
        raise BrokerError(f"{settings.executable}: is no program that can be run; {remedy}")


def _print_json(event: Event) -> None:
    click.echo(event.encode())
