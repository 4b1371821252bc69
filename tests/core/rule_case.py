"""Configurations of which rules are asked: what `sigillo up` writes, and one line changed for each rule."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sigillo.core.rule import DEFAULT_RULES, RULES, appraise_configuration

FOLDER = "/srv/broker"
CONF, DERIVED = "conf/mosquitto.conf", "derived/mosquitto.conf"
TEXT = """\
per_listener_settings false
listener 8883 192.0.2.1
cafile conf/tls/ca.cert.pem
certfile conf/tls/server.cert.pem
keyfile conf/tls/server.key.pem
require_certificate true
use_identity_as_username true
use_username_as_clientid true
allow_anonymous false
acl_file conf/acl
check_retain_source true
plugin plugin/sigillo.so
max_packet_size 1048576
"""
ACCESS = """\
# A device publishes under its own id only.
pattern write braid/agent/%u/shadow/reported/#
pattern read sigillo/checkpoint

user sigillo-archive
topic read braid/agent/+/shadow/reported/#
"""
OWN = """\
plugin plugin/sigillo.so
per_listener_settings false
allow_anonymous false
password_file /etc/mosquitto/passwd
check_retain_source true
acl_file derived/acl
listener 1883 127.0.0.1
listener 0 /run/mosquitto.sock
listener 8883
certfile /etc/mosquitto/server.cert.pem
keyfile /etc/mosquitto/server.key.pem
listener 8884
psk_hint broker
listener 18883 127.0.0.1
cafile conf/tls/ca.cert.pem
certfile conf/tls/server.cert.pem
keyfile conf/tls/server.key.pem
require_certificate true
use_identity_as_username true
"""
KEYS: dict[str, str | None] = {
    "conf/tls/ca.cert.pem": None,
    "conf/tls/server.cert.pem": None,
    "conf/tls/server.key.pem": None,
}
FILES: dict[str, str | None] = {"sigillo.toml": None, **KEYS, CONF: TEXT, "conf/acl": ACCESS}
OWN_FILES: dict[str, str | None] = {
    "sigillo.toml": None,
    **KEYS,
    DERIVED: OWN,
    "derived/acl": ACCESS,
    "/etc/mosquitto/passwd": None,
    "/etc/mosquitto/server.cert.pem": None,
    "/etc/mosquitto/server.key.pem": None,
}


def command(main: str = CONF) -> tuple[str, ...]:
    return ("/usr/sbin/mosquitto", "-c", f"{FOLDER}/{main}")


@dataclass(frozen=True)
class Case:
    """What is appraised. *breaks*: the rules that do not hold, none where all do."""

    files: Mapping[str, str | None]
    command: Sequence[str] = command()
    rules: tuple[str, ...] = DEFAULT_RULES
    breaks: Collection[str] = ()

    def encode(self) -> bytes:
        """The vector (spec/rule.md)."""
        found = appraise_configuration(self.files, self.command, self.rules)
        violations = [{"rule": violation.rule, "reason": violation.reason} for violation in found]
        value = {
            "files": dict(self.files),
            "command": list(self.command),
            "rules": list(self.rules),
            "violations": violations,
        }
        return f"{json.dumps(value, indent=1, ensure_ascii=False)}\n".encode()


def with_text(
    change: Mapping[str, str | None], *without: str, files: Mapping[str, str | None] = FILES
) -> dict[str, str | None]:
    """The files with some of other text or more of them, and *without* some."""
    return {name: text for name, text in {**files, **change}.items() if name not in without}


def changed(old: str, new: str) -> dict[str, str | None]:
    """The files, with one change of the configuration."""
    assert TEXT.count(old) == 1, old
    return with_text({CONF: TEXT.replace(old, new)})


def added(*lines: str) -> dict[str, str | None]:
    """The files, with more lines at the end of the configuration, where the listener's still go on."""
    return with_text({CONF: TEXT + "".join(f"{line}\n" for line in lines)})


def accepted() -> dict[str, Case]:
    """Where every rule asked for holds."""
    crossed = TEXT.replace("acl_file conf/acl", f"acl_file {FOLDER}/conf/./acl")
    parts = TEXT.partition("acl_file")
    included = {CONF: f"{parts[0]}include_dir conf/more\n", "conf/more/a.conf": parts[1] + parts[2]}
    return {
        "first": Case(FILES, rules=RULES),
        "derived": Case(OWN_FILES, command(DERIVED)),
        "path-from-the-root": Case(with_text({CONF: crossed})),
        "included": Case(with_text(included)),
        "listener-of-its-own": Case(
            with_text(
                {CONF: TEXT.replace("allow_anonymous false", "allow_anonymous true\nlistener_allow_anonymous false")}
            )
        ),
        "text-not-needed": Case(with_text({"conf/acl": None}), rules=("tls", "plugin-first", "measured-files")),
        "no-tls-on-loopback": Case(added("listener 1883 127.0.0.2", "listener 1884 ::1"), rules=("tls",)),
        "cipher": Case(added("ciphers ECDHE-ECDSA-AES256-GCM-SHA384:DHE-RSA-CHACHA20-POLY1305", "tls_version tlsv1.3")),
        "another-plugin": Case(
            with_text(
                {CONF: f"{TEXT}plugin /usr/lib/x.so\nplugin_opt_file /etc/x\n", "/usr/lib/x.so": None, "/etc/x": None}
            ),
            rules=("measured-files", "plugin-first"),
        ),
        "named-user-writes-all": Case(with_text({"conf/acl": f"{ACCESS}user admin\ntopic readwrite #\n"})),
    }


ONE_LINE: dict[str, tuple[str, str]] = {
    "allow-anonymous": ("allow_anonymous true", "anonymous-off"),
    "listener-allow-anonymous": ("listener_allow_anonymous true", "anonymous-off"),
    "second-listener": ("listener 1883 192.0.2.1", "tls"),
    "second-listener-everywhere": ("listener 1883", "tls"),
    "second-listener-by-name": ("listener 1883 localhost", "tls"),
    "tls-1.1": ("tls_version tlsv1.1", "tls"),
    "cipher-that-hides-nothing": ("ciphers ECDHE-ECDSA-NULL-SHA", "tls"),
    "ciphers-of-an-expression": ("ciphers ALL:eNULL", "tls"),
    "ciphers-tls-1.3": ("ciphers_tls1.3 TLS_SHA256_SHA256", "tls"),
    "plugin-twice": ("plugin plugin/sigillo.so", "plugin-first"),
    "other-plugin": ("plugin conf/acl", "no-other-plugin"),
    "other-plugin-loaded-by-name": ("plugin_load x conf/acl", "no-other-plugin"),
    "control-api": ("enable_control_api true", "no-dynamic-security"),
    "password-file": ("password_file /etc/passwd", "measured-files"),
    "crl-outside": ("crlfile ../crl.pem", "measured-files"),
    "folder-of-certificates": ("capath conf/tls", "measured-files"),
    "option-of-a-plugin": ("plugin_opt_file /etc/x", "measured-files"),
    "retained-not-checked": ("check_retain_source false", "retained-checked"),
    "root": ("user root", "user"),
    "loopback-without-tls": ("listener 1883 127.0.0.1", "tls-everywhere"),
    "socket-without-tls": ("listener 0 /run/mosquitto.sock", "tls-everywhere"),
    "certificate-not-required": ("require_certificate false", "client-certificate"),
    "name-of-the-client": ("use_identity_as_username false", "client-certificate"),
    "proxy": ("enable_proxy_protocol 2", "client-certificate"),
    "dates-not-checked": ("disable_client_cert_date_checks true", "client-certificate"),
    "bridge": ("connection north", "no-bridge"),
}
"""A line at the end of the configuration, and the one rule that is asked for and that it breaks."""

EXAMPLE: dict[str, str | None] = {
    CONF: "listener 8883 192.0.2.1\n"
    "certfile conf/tls/server.cert.pem\n"
    "keyfile conf/tls/server.key.pem\n"
    "listener 1883\n",
    "conf/tls/server.cert.pem": None,
    "conf/tls/server.key.pem": None,
}
"""The worked example of spec/rule.md."""
_EVERY = tuple(DEFAULT_RULES)
READ: dict[str, str] = {
    "local-only": TEXT.replace("listener 8883 192.0.2.1\n", "").partition("cafile")[0],
    "above-any-listener": f"max_connections 5\n{TEXT}",
    "per-listener-settings": TEXT.replace("per_listener_settings false", "per_listener_settings true"),
    "unknown-directive": f"{TEXT}allow_anonymos true\n",
    "zero-byte": f"{TEXT}#\0\n",
    "nothing": "",
    "folder-of-nothing": f"{TEXT}include_dir conf/more\n",
    "listeners-65": TEXT + "listener 1883\n" * 64,
}
"""Configurations that break every rule: what they say cannot be known."""


def refused() -> dict[str, Case]:
    """Where something does not hold."""
    made = {name: Case(added(line), rules=(rule,), breaks=(rule,)) for name, (line, rule) in ONE_LINE.items()}
    made |= {name: Case(with_text({CONF: text}), breaks=_EVERY) for name, text in READ.items()}
    made["worked-example"] = Case(EXAMPLE, rules=("anonymous-off", "tls"), breaks=("tls",))
    return made | _other_files() | _other_commands()


def _other_files() -> dict[str, Case]:
    listed = ("acl", "retained-checked")
    shared = "listener 9001\nprotocol websockets\npsk_hint x\n"
    return {
        "not-shown": Case(with_text({CONF: None}), breaks=_EVERY),
        "not-measured": Case(with_text({}, CONF), breaks=_EVERY),
        "included-not-shown": Case(
            with_text({CONF: f"{TEXT}include_dir conf/more\n", "conf/more/a.conf": None}), breaks=_EVERY
        ),
        "access-list-not-shown": Case(with_text({"conf/acl": None}), breaks=("acl",)),
        "access-list-not-measured": Case(with_text({}, "conf/acl"), breaks=("acl", "measured-files")),
        "no-access-list": Case(changed("acl_file conf/acl\n", ""), rules=listed, breaks=listed),
        "everybody-writes": Case(with_text({"conf/acl": f"pattern write #\n{ACCESS}"}), breaks=("acl",)),
        "everybody-writes-levels": Case(with_text({"conf/acl": f"topic +/#\n{ACCESS}"}), breaks=("acl",)),
        "access-list-unreadable": Case(with_text({"conf/acl": f"{ACCESS}group x\n"}), breaks=("acl",)),
        "retained-by-default": Case(changed("check_retain_source true\n", ""), breaks=("retained-checked",)),
        "plugin-missing": Case(changed("plugin plugin/sigillo.so\n", ""), breaks=("plugin-first",)),
        "plugin-elsewhere": Case(
            changed("plugin plugin/sigillo.so", "plugin conf/acl"), breaks=("plugin-first", "no-other-plugin")
        ),
        "plugin-second": Case(
            with_text({CONF: f"plugin conf/acl\n{TEXT}"}), breaks=("plugin-first", "no-other-plugin")
        ),
        "plugin-of-some-listeners": Case(
            changed("plugin plugin/sigillo.so", "plugin_load s plugin/sigillo.so\nplugin_use s"),
            breaks=("plugin-first",),
        ),
        "dynamic-security": Case(
            added("plugin /usr/lib/mosquitto_dynamic_security.so"),
            breaks=("no-dynamic-security", "no-other-plugin", "measured-files"),
        ),
        "key-without-certificate": Case(changed("certfile conf/tls/server.cert.pem\n", ""), breaks=("tls",)),
        "shared-keys-over-websockets": Case(
            with_text({DERIVED: OWN + shared}, files=OWN_FILES), command(DERIVED), breaks=("tls",)
        ),
        "certificates-of-the-system": Case(
            added("connection north", "bridge_tls_use_os_certs true"), breaks=("measured-files",)
        ),
    }


def _other_commands() -> dict[str, Case]:
    commands = {
        "command-port": (*command(), "-p", "1883"),
        "command-verbose": ("/usr/sbin/mosquitto", "-v", *command()[1:]),
        "command-without-configuration": ("/usr/sbin/mosquitto",),
        "command-other-file": ("/usr/sbin/mosquitto", "-c", f"{FOLDER}/conf/other.conf"),
        "command-relative": ("/usr/sbin/mosquitto", "-c", CONF),
        "command-program-by-name": ("mosquitto", "-c", f"{FOLDER}/{CONF}"),
        "command-parent": ("/usr/sbin/mosquitto", "-c", f"{FOLDER}/../{CONF}"),
        "command-empty": (),
        "command-other-folder": ("/usr/sbin/mosquitto", "-c", f"{FOLDER}/{DERIVED}"),
    }
    return {name: Case(FILES, words, breaks=_EVERY) for name, words in commands.items()}
