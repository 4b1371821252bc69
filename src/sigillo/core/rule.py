"""Configuration rules: what a broker's configuration and process must be for a policy to ask for it (spec/rule.md).

The text of the configuration is evidence, and says what the measured broker read. What is not shown, cannot be read, or
is more than `sigillo up` would run breaks every rule that would need it: nothing here passes unseen.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from sigillo.core.access_list import decode_access_list
from sigillo.core.directive import (
    FILES,
    FOLDERS,
    OPTIONS,
    PLUGIN,
    Directives,
    Line,
    Section,
    decode_directives,
    included,
    plugin_path,
)
from sigillo.core.errors import ConfigurationError, PolicyError
from sigillo.core.listener import (
    allows_anonymous,
    has_tls,
    is_dynamic_security,
    is_local,
    is_plugin_first,
    principal_source,
)
from sigillo.core.statement import MAX_LISTED, PrincipalSource

_MAIN: Final = ("conf/mosquitto.conf", "derived/mosquitto.conf")
_STRONG: Final = re.compile(
    r"(ECDHE|DHE)-((ECDSA|RSA|PSK)-)?(AES(128|256)-(GCM-SHA(256|384)|CCM)|CHACHA20-POLY1305)|TLS_(AES|CHACHA20)_[A-Z0-9_]+"
)

_MAX_SHOWN: Final = 200
"""Characters of a path in a reason."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that does not hold, by its name in spec/rule.md, and why: where, and what would do."""

    rule: str
    reason: str


@dataclass(frozen=True, slots=True)
class _Shown:
    """What a broker ran on. `folder`: the operator folder, from the root; `main`: name of the file it began with."""

    folder: str
    main: str
    files: Mapping[str, str | None]
    found: Directives

    def name(self, line: Line, path: str) -> str:
        """The measured name of a file. Raises ConfigurationError where it is not among those measured."""
        name = member_name(self.folder, path)
        if name not in self.files:
            raise line.refuse(f"names {path[:_MAX_SHOWN]}, which was not measured")
        return name


_Check: TypeAlias = Callable[[_Shown], Iterator[str]]


def appraise_configuration(
    files: Mapping[str, str | None], command: Sequence[str], rules: Collection[str]
) -> tuple[Violation, ...]:
    """Every violation of these configuration rules (names of `RULES`), in the order of `RULES`; empty: all hold.

    *files*: each configuration file of the launch's closure (role 5) by its name there, with its text; None where the
    text is not given. That a text has the measured hash is the caller's to check. *command*: the broker's command line,
    of the launch event. Raises PolicyError for a rule that is not known, or where no rule is asked for: that would be
    no check at all.
    """
    wanted = set(rules)
    unknown = sorted(wanted - set(RULES))
    if unknown or not wanted:
        what = f"`{unknown[0]}` is no configuration rule" if unknown else "there is no configuration rule"
        raise PolicyError("rules", f"{what}; there are {', '.join(RULES)}")
    asked = [rule for rule in RULES if rule in wanted]
    try:
        shown = _read(files, command)
    except ConfigurationError as error:
        return tuple(Violation(rule, str(error)) for rule in asked)
    return tuple(Violation(rule, reason) for rule in asked for reason in dict.fromkeys(_reasons(rule, shown)))


def member_name(folder: str, path: str) -> str:
    """The name that a path in a configuration has in a closure (spec/epoch.md, "Configuration tree hash").

    *folder*: the operator folder, from the root, without `.`, `..` and empty parts; relative paths begin there.
    """
    whole = path if path.startswith("/") else f"{folder}/{path}"
    parts = [part for part in whole.split("/") if part not in ("", ".")]
    inside = folder.split("/")[1:]
    root = "//" if re.match(r"//(?!/)", whole) else "/"
    if root == "/" and parts[: len(inside)] == inside:
        return "/".join(parts[len(inside) :]) or "."
    return root + "/".join(parts)


def _read(files: Mapping[str, str | None], command: Sequence[str]) -> _Shown:
    """Raises ConfigurationError for what `sigillo up` does not run, or what is not shown."""
    folder, main = _started(command)

    def include(line: Line) -> Iterator[tuple[str, bytes]]:
        prefix = f"{member_name(folder, line.value)}/".removeprefix("./")
        inside = (name.removeprefix(prefix) for name in files if name.startswith(prefix))
        names = included(name for name in inside if "/" not in name)
        if not names:
            raise line.refuse("names a folder of which no file was measured")
        return ((prefix + name, _data(files, prefix + name)) for name in names)

    found = decode_directives(main, _data(files, main), include)
    if found.above.lines:
        raise found.above.lines[0].refuse("has no place here: there is no `listener` above it")
    if len(found.listeners) > MAX_LISTED:
        raise ConfigurationError(main, f"has more than the {MAX_LISTED} listeners that an epoch statement can name")
    if not found.listeners:
        raise ConfigurationError(main, "has no `listener`: Mosquitto then lets everybody on the machine in")
    return _Shown(folder, main, files, found)


def _started(command: Sequence[str]) -> tuple[str, str]:
    """Operator folder, and name of the file that the broker began with. Raises ConfigurationError."""
    if len(command) == 3 and command[0].startswith("/") and command[1] == "-c":
        for main in _MAIN:
            folder = command[2].removesuffix(f"/{main}")
            parts = folder.split("/")
            if folder != command[2] and parts[0] == "" and not {"", ".", ".."} & set(parts[1:]) and parts[1:]:
                return folder, main
    raise ConfigurationError(
        "command of the launch", f"is not `PROGRAM -c FOLDER/{_MAIN[0]}` (or {_MAIN[1]}), alone and from the root"
    )


def _data(files: Mapping[str, str | None], name: str) -> bytes:
    return _text(files, name).encode("utf-8", "surrogatepass")


def _text(files: Mapping[str, str | None], name: str) -> str:
    """Raises ConfigurationError where it is not shown."""
    if name not in files:
        raise ConfigurationError(name, "was not measured")
    text = files[name]
    if text is None:
        raise ConfigurationError(name, "not shown: the evidence has its hash only, and what it says decides")
    return text


def _reasons(rule: str, shown: _Shown) -> Iterator[str]:
    try:
        yield from _CHECKS[rule](shown)
    except ConfigurationError as error:
        yield str(error)


def _anonymous_off(shown: _Shown) -> Iterator[str]:
    for listener in shown.found.listeners:
        if allows_anonymous(listener, shown.found):
            line = listener.get("listener_allow_anonymous") or shown.found.broker.get("allow_anonymous")
            assert line is not None  # off is the default
            yield _refused(line, "lets clients in that have no name; make it false")


def _tls(shown: _Shown) -> Iterator[str]:
    for listener in shown.found.listeners:
        if not is_local(listener):
            yield from _open(listener)


def _tls_everywhere(shown: _Shown) -> Iterator[str]:
    for listener in shown.found.listeners:
        yield from _open(listener)


def _open(listener: Section) -> Iterator[str]:
    """Why others could read or change what passes at a listener."""
    if not has_tls(listener):
        yield _refused(_head(listener), "has no TLS; give it `certfile` and `keyfile`")
    version = listener.get("tls_version")
    if version and version.value not in ("tlsv1.2", "tlsv1.3"):
        yield _refused(version, "allows less than TLS 1.2; leave it out")
    for line in (listener.get("ciphers"), listener.get("ciphers_tls1.3")):
        if line and not all(_STRONG.fullmatch(name) for name in line.value.split(":")):
            yield _refused(line, "may choose a cipher that hides or protects too little; leave it out")


def _client_certificate(shown: _Shown) -> Iterator[str]:
    for listener in shown.found.listeners:
        if principal_source(listener, shown.found) < PrincipalSource.CERT_SUBJECT:
            yield _refused(
                _head(listener),
                "does not know its clients by their certificates; it needs TLS, `cafile`, `require_certificate true`, "
                "`use_identity_as_username true` and no proxy",
            )
        unchecked = listener.get("disable_client_cert_date_checks")
        if unchecked and unchecked.is_on:
            yield _refused(unchecked, "accepts certificates that have ended; make it false")


def _plugin_first(shown: _Shown) -> Iterator[str]:
    if not is_plugin_first(shown.found):
        yield f"{shown.main}: does not begin its plugins with `plugin {PLUGIN}`, which every listener then has"
    for plugin in shown.found.plugins[1:]:
        if plugin_path(plugin) == PLUGIN:
            yield _refused(_head(plugin), "brings Sigillo's plugin in a second time")


def _no_other_plugin(shown: _Shown) -> Iterator[str]:
    for plugin in shown.found.plugins:
        if plugin_path(plugin) != PLUGIN:
            yield _refused(_head(plugin), "brings in another plugin than Sigillo's")


def _no_dynamic_security(shown: _Shown) -> Iterator[str]:
    for plugin in shown.found.plugins:
        if is_dynamic_security(plugin):
            yield _refused(_head(plugin), "lets `$CONTROL` change who may do what while the broker runs")
    control = shown.found.broker.get("enable_control_api")
    if control and control.is_on:
        yield _refused(control, "opens `$CONTROL`; make it false")


def _acl(shown: _Shown) -> Iterator[str]:
    line = shown.found.broker.get("acl_file")
    if line is None:
        yield f"{shown.main}: has no `acl_file`: everybody who is let in may write everywhere"
        return
    name = shown.name(line, line.value)
    for grant in decode_access_list(name, _text(shown.files, name)):
        if grant.opens_all:
            yield f"{name}: line {grant.number}: lets everybody write everywhere"


def _retained_checked(shown: _Shown) -> Iterator[str]:
    if not shown.found.broker.is_on("check_retain_source"):
        yield f"{shown.main}: has no `check_retain_source true`: what was retained under other rights is handed out"
    if not shown.found.broker.get("acl_file"):
        yield f"{shown.main}: has no `acl_file`: there are no rights to check what is retained by"


def _user(shown: _Shown) -> Iterator[str]:
    for line in shown.found.broker.lines:
        if line.name == "user" and line.value == "root":
            yield _refused(line, "keeps the rights of root; leave it out")


def _no_bridge(shown: _Shown) -> Iterator[str]:
    for bridge in shown.found.bridges:
        yield _refused(_head(bridge), "makes a bridge to another broker")


def _measured_files(shown: _Shown) -> Iterator[str]:
    for line in shown.found.lines():
        if line.name in FILES or (line.name.startswith(OPTIONS) and "/" in line.value):
            yield from _not_measured(shown, line, line.value)
        elif line.name in FOLDERS:
            yield _refused(line, "names a folder that is looked into while the broker runs; name one file instead")
        elif line.name == "bridge_tls_use_os_certs" and line.is_on:
            yield _refused(line, "trusts certificates that are not part of the configuration; name a file")
    for plugin in shown.found.plugins:
        if plugin_path(plugin) != PLUGIN:  # which is the closure's own
            yield from _not_measured(shown, _head(plugin), plugin_path(plugin))


def _not_measured(shown: _Shown, line: Line, path: str) -> Iterator[str]:
    try:
        shown.name(line, path)
    except ConfigurationError as error:
        yield str(error)


def _head(section: Section) -> Line:
    assert section.head is not None  # listeners, bridges and plugins begin with their line
    return section.head


def _refused(line: Line, reason: str) -> str:
    return str(line.refuse(reason))


_CHECKS: Final[Mapping[str, _Check]] = {
    "anonymous-off": _anonymous_off,
    "tls": _tls,
    "plugin-first": _plugin_first,
    "acl": _acl,
    "no-dynamic-security": _no_dynamic_security,
    "no-other-plugin": _no_other_plugin,
    "measured-files": _measured_files,
    "retained-checked": _retained_checked,
    "user": _user,
    "tls-everywhere": _tls_everywhere,
    "client-certificate": _client_certificate,
    "no-bridge": _no_bridge,
}
RULES: Final = tuple(_CHECKS)
"""Every configuration rule, by its name in spec/rule.md. What a rule asks of the process begins with `process-`."""
DEFAULT_RULES: Final = RULES[:9]
"""What holds where a policy does not say otherwise."""
