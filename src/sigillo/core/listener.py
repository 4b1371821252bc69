"""Who comes in at a listener of a mosquitto.conf, by what it says; which plugins answer there (spec/rule.md).

As Mosquitto 2.0 and 2.1 do it; what is not certain counts as not.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from sigillo.core.directive import PLUGIN, Directives, Section, listener_address, plugin_path
from sigillo.core.statement import PrincipalSource

_DYNAMIC_SECURITY: Final = "mosquitto_dynamic_security.so"
_PASSWORD_PLUGINS: Final = frozenset({_DYNAMIC_SECURITY, "mosquitto_password_file.so"})
_ACCESS_PLUGINS: Final = frozenset({_DYNAMIC_SECURITY, "mosquitto_acl_file.so"})
_HARMLESS_PLUGINS: Final = frozenset(
    {"mosquitto_password_file.so", "mosquitto_acl_file.so", "mosquitto_persist_sqlite.so"}
)
"""Mosquitto's own; of any other plugin nobody knows whom it lets in and what it listens to."""


def principal_source(listener: Section, found: Directives) -> PrincipalSource:
    """How Mosquitto knows who a client of this listener is (its handle_connect). Raises ConfigurationError."""
    by_identity = listener.is_on("use_identity_as_username")
    if not (has_tls(listener) and (by_identity or listener.is_on("use_subject_as_username"))):
        return _password_source(listener, found)
    if listener.get("psk_hint"):
        certain = _has_shared_keys(listener) and found.broker.get("psk_file")
        return PrincipalSource.PSK if certain else PrincipalSource.UNAUTHENTICATED
    checked = listener.is_on("require_certificate") and (listener.get("cafile") or listener.get("capath"))
    if not checked or listener.get("enable_proxy_protocol"):  # there the proxy says what was in the certificate
        return PrincipalSource.UNAUTHENTICATED
    return PrincipalSource.CERT_CN if by_identity else PrincipalSource.CERT_SUBJECT


def has_tls(listener: Section) -> bool:
    """Whether its connections are TLS's: by a certificate, or by keys that both sides know."""
    return _has_shared_keys(listener) or bool(listener.get("certfile") and listener.get("keyfile"))


def allows_anonymous(listener: Section, found: Directives) -> bool:
    """Whether somebody without a name comes in. Raises ConfigurationError."""
    own = listener.get("listener_allow_anonymous")
    return own.is_on if own else found.broker.is_on("allow_anonymous")


def is_local(listener: Section) -> bool:
    """Whether only this machine reaches it: a Unix socket, or an address of the loopback; a name could be anything.

    Raises ConfigurationError.
    """
    port, host = listener_address(listener)
    if port == 0:
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_loopback if isinstance(address, IPv4Address) else address == IPv6Address("::1")


def has_access_list(found: Directives) -> bool:
    """Whether somebody is known to answer who may do what: then a plugin that defers denies nothing."""
    return found.broker.get("acl_file") is not None or bool(_names(_for_all(found)) & _ACCESS_PLUGINS)


def has_dynamic_security(found: Directives) -> bool:
    """Whether Mosquitto's dynamic security is loaded for every listener."""
    return _DYNAMIC_SECURITY in _names(_for_all(found))


def is_plugin_first(found: Directives) -> bool:
    """Whether Sigillo's plugin is before any other, and every listener has it: what `plugin_load` brings in serves only
    those that use it. Raises ConfigurationError."""
    first = found.plugins[0] if found.plugins else None
    return bool(first and first.head and first.head.name == "plugin" and plugin_path(first) == PLUGIN)


def is_dynamic_security(plugin: Section) -> bool:
    """Whether a plugin is Mosquitto's dynamic security, by the name of its file. Raises ConfigurationError."""
    return _file_name(plugin) == _DYNAMIC_SECURITY


def is_controlled(found: Directives) -> bool:
    """Whether `$CONTROL` may do something, as far as is known. Raises ConfigurationError."""
    return bool(_names(found.plugins) - _HARMLESS_PLUGINS) or found.broker.is_on("enable_control_api")


def _has_shared_keys(listener: Section) -> bool:
    """Whether `psk_hint` counts: for a listener of WebSockets Mosquitto 2.0 takes it, and then speaks in the clear."""
    protocol = listener.get("protocol")
    return listener.get("psk_hint") is not None and (protocol is None or protocol.value == "mqtt")


def _password_source(listener: Section, found: Directives) -> PrincipalSource:
    plugins = _plugins_of(listener, found)
    checked = found.broker.get("password_file") is not None or bool(plugins & _PASSWORD_PLUGINS)
    unknown = plugins - _PASSWORD_PLUGINS - _HARMLESS_PLUGINS
    if allows_anonymous(listener, found) or unknown or not checked:
        return PrincipalSource.UNAUTHENTICATED
    return PrincipalSource.PASSWORD


def _plugins_of(listener: Section, found: Directives) -> set[str]:
    """File names of the plugins that see this listener's clients, without Sigillo's own."""
    used = {line.value for line in listener.lines if line.name == "plugin_use"}
    loaded = [plugin for plugin in found.plugins if plugin.head and plugin.head.words[0] in used]
    return _names(_for_all(found)) | _names(loaded)


def _for_all(found: Directives) -> list[Section]:
    """The plugins that every listener has."""
    return [plugin for plugin in found.plugins if plugin.head and plugin.head.name != "plugin_load"]


def _names(plugins: Iterable[Section]) -> set[str]:
    """File names of plugins, without Sigillo's own."""
    return {_file_name(plugin) for plugin in plugins if plugin_path(plugin) != PLUGIN}


def _file_name(plugin: Section) -> str:
    return plugin_path(plugin).rstrip("/").rpartition("/")[2]
