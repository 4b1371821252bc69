"""`sigillo.toml`, the settings of one operator. Written once from the options of the first `sigillo up`, then the
operator's to edit; part of the configuration hash (spec/epoch.md)."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sigillo.broker.error import BrokerError
from sigillo.core.cosignature import WitnessKey
from sigillo.core.errors import DecodeError, PolicyError
from sigillo.core.handshake import MAX_PAYLOAD, MAX_RATE
from sigillo.core.revocation import MAX_CRLS
from sigillo.core.statement import MAX_LISTED, Carrier, MarkedFilter
from sigillo.core.table import decode_toml, quote
from sigillo.core.topic import check_filter
from sigillo.log.submission import WitnessAddress
from sigillo.web import host_and_port, is_loopback

VERSION = 1
ON_BAD_CLOCK = ("refuse", "mark-unsynchronised")
DURABILITY = ("buffered", "strict")
CARRIERS = {carrier.name.lower(): carrier for carrier in Carrier}
DEFAULT_FILTER = "braid/agent/+/shadow/reported/#"
DEFAULT_LISTEN = "127.0.0.1:8883"
DEFAULT_HTTP = "127.0.0.1:8380"
DEFAULT_LISTEN_BESIDE = "127.0.0.1:18883"
"""Where an own configuration is: 8883 is what its own listeners will have."""
_HOST = re.compile(r"(?=.{1,200}$)[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*")
_URL = re.compile(r"https?://[!-~]+")
MAX_WITNESSES = 32
"""So many cosignatures, of any type, fit a note."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SEGMENT_STEP = 4096
_ONLY_IF_SET = ("boot_log", "conf", "ima_list", "manifest", "tpm", "tsa")
_OPTIONS = {
    "name": "--name",
    "operator": "--operator",
    "listen": "--listen",
    "on_bad_clock": "--on-bad-clock",
    "durability": "--durability",
    "http": "--http",
    "executable": "--mosquitto",
    "filters": "--filter and --carrier",
    "conf": "--conf",
    "manifest": "--manifest",
    "raw_tokens": "--raw-tokens",
    "max_rate": "--max-rate",
    "max_payload": "--max-payload",
    "bridge_principals": "--bridge-principal",
    "keep_entries": "--keep-entries",
    "tsa": "--tsa",
    "anchor_interval": "--anchor-interval",
    "witness": "--witness",
    "cosign_interval": "--cosign-interval",
    "cosign_quorum": "--cosign-quorum",
    "tpm": "--tpm",
    "quote_interval": "--quote-interval",
}
MAX_TSAS = 8


@dataclass(frozen=True)
class TsaSetting:
    """A time-stamp authority: `name` in events and anchors, `url` where it answers, `certificates`: a PEM file with its
    root, and intermediates if its tokens lack them; empty: its tokens are not verified here but for what they are over.
    `crls`: files and URLs of revocation lists of its CAs, which are read for each token and kept with it.
    """

    url: str
    name: str
    certificates: str = ""
    crls: tuple[str, ...] = ()

    @classmethod
    def at(cls, url: str, crls: tuple[str, ...] = ()) -> TsaSetting:
        """Named as its host and port are."""
        return cls(url, url.partition("://")[2].partition("/")[0], crls=crls)


@dataclass(frozen=True)
class Settings:
    """What the operator decides.

    `name`: host name in the TLS certificate, and of the log's origin `name/log`. `listen`: address:port of the listener
    that Sigillo makes, where the archive connects. `conf`: the operator's own mosquitto.conf, empty where Sigillo wrote
    it. `durability`: as in the statement. `http`: address:port where the log is served, empty for nowhere. `manifest`:
    build manifest of executable and plugin, empty where there is none. `filters`: topics whose messages are marked.
    `raw_tokens`, `max_rate`, `max_payload`, `max_principals`: as in `RunTime`. `bridge_principals`: whose foreign marks
    are kept. `segment_size`: bytes of a spool segment. `keep_entries`: of so many newest entries of the log at least
    the objects are kept, 0 for all (spec/log-storage.md, "Retention"). `tsa`: who stamps the log's checkpoints, each
    `anchor_interval` seconds. `witness`: who is asked to cosign, every `cosign_interval` seconds (spec/witness.md);
    `cosign_quorum`: from how many on a checkpoint is kept before a newer one with less; `cosign_demand`: no start
    unless so many witnesses say what they have seen.
    `tpm`: device of the TPM that launches are measured into, or socket of a software TPM; empty: they are not.
    `quote_interval`: seconds from one of its quotes in the log to the next. `boot_log`, `ima_list`: where the logs of
    the boot and of IMA are, empty: where Linux has them.
    """

    name: str
    operator: str
    listen: str = DEFAULT_LISTEN
    conf: str = ""
    on_bad_clock: str = "refuse"
    durability: str = "buffered"
    http: str = DEFAULT_HTTP
    executable: str = "/usr/sbin/mosquitto"
    manifest: str = ""
    filters: tuple[MarkedFilter, ...] = (MarkedFilter(DEFAULT_FILTER),)
    raw_tokens: bool = False
    max_rate: int = 0
    max_payload: int = 0
    bridge_principals: tuple[str, ...] = ()
    segment_size: int = 8 * 1024 * 1024
    max_principals: int = 65_536
    keep_entries: int = 0
    tsa: tuple[TsaSetting, ...] = ()
    anchor_interval: int = 60
    cosign_interval: int = 10
    cosign_quorum: int = 1
    cosign_demand: bool = False
    tpm: str = ""
    quote_interval: int = 60
    boot_log: str = ""
    ima_list: str = ""
    witness: tuple[WitnessAddress, ...] = ()

    @property
    def origin(self) -> str:
        """Origin of the log (C2SP tlog-checkpoint)."""
        return f"{self.name}/log"

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of `listen`."""
        return host_and_port(self.listen)

    def check(self, where: str) -> Settings:
        """Raises BrokerError, naming *where* and the setting, for a value out of range."""
        _require(_HOST.fullmatch(self.name) is not None, where, "name", "must be a host name or IPv4 address")
        named = 1 <= len(self.operator.encode()) <= 255 and self.operator.isprintable()
        _require(named, where, "operator", "must be printable text of 1 to 255 bytes")
        _require(_is_address(self.listen), where, "listen", "must be ADDRESS:PORT, as 127.0.0.1:8883 or [::1]:8883")
        _require(self.on_bad_clock in ON_BAD_CLOCK, where, "on_bad_clock", f"must be one of {', '.join(ON_BAD_CLOCK)}")
        _require(self.durability in DURABILITY, where, "durability", f"must be one of {', '.join(DURABILITY)}")
        _require(
            not self.http or (is_loopback(self.http) and _is_address(self.http)),
            where,
            "http",
            f"must be as {DEFAULT_HTTP}, on loopback, or empty",
        )
        _require(self.executable.startswith("/"), where, "executable", "must be an absolute path")
        whole = self.segment_size % _SEGMENT_STEP == 0 and 65_536 <= self.segment_size <= 2**30
        _require(whole, where, "segment_size", "must be a multiple of 4096 from 65536 to 1073741824")
        _require(1 <= self.max_principals <= 2**20, where, "max_principals", "must be from 1 to 1048576")
        _require(0 <= self.keep_entries < 2**63, where, "keep_entries", "must be 0 (all) or a number of entries")
        for name in ("conf", "manifest", "tpm", "boot_log", "ima_list"):
            path = getattr(self, name)
            _require(not path or path.startswith("/"), where, name, "must be an absolute path")
        _require(0 <= self.max_rate <= MAX_RATE, where, "max_rate", f"must be from 0 (no limit) to {MAX_RATE}")
        _require(
            0 <= self.max_payload <= MAX_PAYLOAD, where, "max_payload", f"must be from 0 (no limit) to {MAX_PAYLOAD}"
        )
        _require(1 <= self.quote_interval <= 86_400, where, "quote_interval", "must be from 1 to 86400 seconds")
        self._check_filters(where)
        self._check_tsa(where)
        self._check_witnesses(where)
        return self

    def _check_tsa(self, where: str) -> None:
        _require(len(self.tsa) <= MAX_TSAS, where, "tsa", f"must be at most {MAX_TSAS} time-stamp authorities")
        for tsa in self.tsa:
            _require(_is_url(tsa.url, query=True), where, "tsa", f"{tsa.url!r} must be an http:// or https:// address")
            named = 1 <= len(tsa.name.encode()) <= 255 and tsa.name.isprintable()
            _require(named, where, "tsa", f"{tsa.url} must have a printable name of 1 to 255 bytes")
            absolute = not tsa.certificates or tsa.certificates.startswith("/")
            _require(absolute, where, "tsa", f"certificates of {tsa.name} must be an absolute path")
            few = len(tsa.crls) <= MAX_CRLS
            good = few and all(crl.startswith("/") or _is_url(crl, query=True) for crl in tsa.crls)
            _require(good, where, "tsa", f"crls of {tsa.name} must be at most {MAX_CRLS} absolute paths or URLs")
        names = {tsa.name for tsa in self.tsa}
        _require(len(names) == len(self.tsa), where, "tsa", "names one twice")
        _require(1 <= self.anchor_interval <= 86_400, where, "anchor_interval", "must be from 1 to 86400 seconds")

    def _check_filters(self, where: str) -> None:
        _require(1 <= len(self.filters) <= MAX_LISTED, where, "filters", f"must be 1 to {MAX_LISTED} topic filters")
        for marked in self.filters:
            try:
                check_filter(marked.topic_filter, "filters")
            except DecodeError as error:
                raise BrokerError(f"{where}: filters: {marked.topic_filter!r} {error.reason}") from None
            # each is a line of an access list, which Mosquitto trims
            writable = marked.topic_filter == marked.topic_filter.strip(" ") and not _CONTROL.search(
                marked.topic_filter
            )
            _require(writable, where, "filters", f"{marked.topic_filter!r} has control characters, or blanks at an end")
        has_datagrams = any(marked.carrier is Carrier.DATAGRAM for marked in self.filters)
        _require(has_datagrams or not self.raw_tokens, where, "raw_tokens", "needs a filter with the carrier datagram")
        names = self.bridge_principals
        _require(len(names) <= MAX_LISTED, where, "bridge_principals", f"must be at most {MAX_LISTED} names")
        good = all(0 < len(name.encode()) < 2**16 and "\0" not in name for name in names)
        _require(good, where, "bridge_principals", "must be names of 1 to 65535 bytes")
        _require(len(set(names)) == len(names), where, "bridge_principals", "names one twice")

    def _check_witnesses(self, where: str) -> None:
        _require(1 <= self.cosign_interval <= 3600, where, "cosign_interval", "must be from 1 to 3600 seconds")
        _require(len(self.witness) <= MAX_WITNESSES, where, "witness", f"must be at most {MAX_WITNESSES}")
        most = len(self.witness) or 1
        _require(
            1 <= self.cosign_quorum <= most, where, "cosign_quorum", f"must be from 1 to {most}, as many witnesses"
        )
        demand = bool(self.witness) or not self.cosign_demand
        _require(demand, where, "cosign_demand", "needs a [[witness]]")
        for item in self.witness:
            _require(_is_url(item.url), where, "witness", f"url {item.url!r} must be as http://127.0.0.1:8390")
        ids = {(item.key.name, item.key.note_key_id) for item in self.witness}
        _require(len(ids) == len(self.witness), where, "witness", "names one key twice")

    def encode(self) -> bytes:
        """The file."""
        lines = [
            "# Settings of this certified broker. Part of its configuration hash: a change shows in the next epoch."
        ]
        lines.append(f"version = {VERSION}")
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "witness":  # the last one: tables end what is before them
                for item in self.witness:
                    lines += ["", "[[witness]]", f"url = {quote(item.url)}", f"key = {quote(item.key.vkey)}"]
            elif value or field.name not in _ONLY_IF_SET:
                lines.append(f"{field.name} = {_toml(value)}")
        return "\n".join([*lines, ""]).encode()


def load(path: Path) -> Settings:
    """Read and check the settings file. Raises BrokerError naming file, field and remedy."""
    try:
        values = decode_toml(path.read_bytes())
    except OSError as error:
        raise BrokerError(f"{path}: {error.strerror}") from None
    except PolicyError as error:
        raise BrokerError(f"{path}: {error.reason}; mend it or put it aside") from None
    if values.pop("version", None) != VERSION:
        raise BrokerError(f"{path}: version must be {VERSION}")
    known = {field.name: str(field.type) for field in fields(Settings)}
    for name, value in values.items():
        if name not in known:
            raise BrokerError(f"{path}: {name} is no setting; remove it")
        values[name] = _typed(path, name, value, known[name])
    missing = sorted({"name", "operator"} - set(values))
    if missing:
        raise BrokerError(f"{path}: {missing[0]} is missing")
    return Settings(**values).check(str(path))


def merge(path: Path, given: dict[str, Any]) -> Settings:
    """The settings of an existing file, which the options *given* must not contradict; else new ones, to be written.

    Raises BrokerError where an option and the file differ, or a required option is missing.
    """
    if path.exists():
        settings = load(path)
        for name, value in given.items():
            if _shown(getattr(settings, name)) != _shown(value):
                raise BrokerError(
                    f"{path}: {name} is {_shown(getattr(settings, name))}, {_OPTIONS[name]} says {_shown(value)}; "
                    "leave the option out, or change the file (and conf/, where it repeats the setting)"
                )
        return settings
    if "name" not in given:
        raise BrokerError(
            f"{path}: does not exist yet; give --name HOST, the name under which clients reach the broker"
        )
    listen = DEFAULT_LISTEN_BESIDE if given.get("conf") else DEFAULT_LISTEN
    return Settings(**{"operator": given["name"], "listen": listen, **given}).check("options")


def _toml(value: object) -> str:
    match value:
        case tuple():
            return f"[{', '.join(map(_toml, value))}]"
        case MarkedFilter(carrier=Carrier.PROPERTY):
            return quote(value.topic_filter)
        case MarkedFilter():
            return f"{{ topic = {quote(value.topic_filter)}, carrier = {quote(value.carrier.name.lower())} }}"
        case TsaSetting():
            parts = {name: getattr(value, name) for name in ("name", "url", "certificates", "crls")}
            return f"{{ {', '.join(f'{key} = {_toml(part)}' for key, part in parts.items() if part)} }}"
        case bool():
            return str(value).lower()
        case str():
            return quote(value)
    return str(value)


def _shown(value: object) -> str:
    if isinstance(value, MarkedFilter):
        return f"{value.topic_filter} ({value.carrier.name.lower()})"
    if isinstance(value, TsaSetting):
        return value.url
    if isinstance(value, WitnessAddress):
        return f"{value.url} ({value.key.name})"
    return (", ".join(map(_shown, value)) if isinstance(value, tuple) else str(value)) or "not set"


def _typed(path: Path, name: str, value: object, kind: str) -> object:
    """The setting's value of what TOML says. Raises BrokerError for another type."""
    if not kind.startswith("tuple"):
        if type(value).__name__ != kind:
            raise BrokerError(f"{path}: {name} must be {kind}")
        return value
    if not isinstance(value, list):
        raise BrokerError(f"{path}: {name} must be a list")
    if name == "filters":
        return tuple(_filter(path, item) for item in value)
    if name == "tsa":
        return tuple(_tsa(path, item) for item in value)
    if name == "witness":
        return tuple(_witness(path, item) for item in value)
    if not all(isinstance(item, str) for item in value):
        raise BrokerError(f"{path}: {name} must be a list of text")
    return tuple(sorted(value))


def _filter(path: Path, item: object) -> MarkedFilter:
    """Text (the carrier property), or a table of `topic` and `carrier`."""
    if isinstance(item, str):
        return MarkedFilter(item)
    if isinstance(item, dict) and item.keys() == {"topic", "carrier"} and isinstance(item["topic"], str):
        if item["carrier"] not in list(CARRIERS):
            raise BrokerError(f"{path}: filters: carrier of {item['topic']!r} must be one of {', '.join(CARRIERS)}")
        return MarkedFilter(item["topic"], carrier=CARRIERS[item["carrier"]])
    raise BrokerError(f'{path}: filters: each must be text, or {{ topic = "…", carrier = "…" }}')


def _tsa(path: Path, item: object) -> TsaSetting:
    """A table of `url`, and `name`, `certificates` and `crls` where they are there."""
    allowed = {"url", "name", "certificates", "crls"}
    if isinstance(item, dict) and {"url"} <= item.keys() <= allowed:
        texts, crls = {name: value for name, value in item.items() if name != "crls"}, item.get("crls", [])
        if isinstance(crls, list) and all(isinstance(value, str) for value in (*texts.values(), *crls)):
            return TsaSetting(**{"name": TsaSetting.at(item["url"]).name, **texts}, crls=tuple(crls))
    raise BrokerError(
        f'{path}: tsa: each must be {{ url = "http://…", name = "…", certificates = "/….pem", crls = ["…"] }}'
    )


def _witness(path: Path, item: object) -> WitnessAddress:
    """A table of `url` and `key`."""
    if (
        not isinstance(item, dict)
        or item.keys() != {"url", "key"}
        or not all(isinstance(v, str) for v in item.values())
    ):
        raise BrokerError(f"{path}: witness: each must have url and key, both text")
    return witness_address(str(path), item["url"], item["key"])


def witness_address(where: str, url: str, vkey: str) -> WitnessAddress:
    """A witness's address. Raises BrokerError, naming *where*, for a key that is none."""
    try:
        return WitnessAddress(url, WitnessKey.from_vkey(vkey))
    except DecodeError as error:
        raise BrokerError(f"{where}: witness {url}: {error}; ask the witness for its vkey") from None


def _is_url(url: str, *, query: bool = False) -> bool:
    """Whether it is an HTTP address without user and fragment; *query*: it may have a query."""
    try:
        parts = urlsplit(url)
        whole = bool(_URL.fullmatch(url) and parts.hostname) and parts.port != 0 and parts.username is None
    except ValueError:
        return False
    return whole and not parts.fragment and (query or not parts.query)


def _is_address(listen: str) -> bool:
    host, colon, port = listen.rpartition(":")
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return bool(colon) and port.isascii() and port.isdigit() and 0 < int(port) < 2**16


def _require(holds: bool, where: str, name: str, remedy: str) -> None:
    if not holds:
        raise BrokerError(f"{where}: {name} {remedy}")
