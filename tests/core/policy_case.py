"""A minimal policy, and every way in which the tests break one: what is wrong → (text, the field that is named)."""

from __future__ import annotations

from sigillo.core.bytes import base64url_encode
from sigillo.core.note import LogKey

from ..adversary.broker import Broker
from ..adversary.builder import dsse_key
from ..adversary.device import Device, ed25519_key
from ..adversary.maker import Maker, der

BROKER = Broker()
KEYS = [Device(f"crate-{number}", "p256" if number % 2 else "ed25519").key for number in range(4)]
KEY = base64url_encode(KEYS[0].spki)
MINIMAL = f"""version = 1
[[operator]]
name = "Example Broker"
log_key = "{BROKER.log_key.vkey}"
level = "declared"
[clock]
max_error = "1s"
[[device]]
id = "crate-1"
key = "{KEY}"
"""


def lines_without(start: str) -> str:
    return "".join(line for line in MINIMAL.splitlines(keepends=True) if not line.startswith(start))


def with_operator(text: str) -> str:
    return MINIMAL.replace('level = "declared"', f'level = "declared"\n{text}')


SECOND_DEVICE = f'[[device]]\nid = "crate-2"\nkey = "{base64url_encode(KEYS[1].spki)}"\n'
OTHER_LOG = LogKey("other.example", ed25519_key("other").public_key().public_bytes_raw())
RENAMED_LOG = LogKey("other.example", BROKER.log_key.public_key)
SAME_ORIGIN = LogKey(BROKER.origin, OTHER_LOG.public_key)


def second_operator(operator: str, key: LogKey) -> str:
    return f'[[operator]]\nname = "{operator}"\nlog_key = "{key.vkey}"\nlevel = "declared"\n'


MAKER = Maker()


def maker(name: str, certified: Maker) -> str:
    ca = base64url_encode(der([certified.certificate])[0])
    return f'[[maker]]\nname = "{name}"\nca = "{ca}"\n'


def with_maker(*tables: str) -> str:
    """The minimal policy with these makers, the first of which certifies the key of its device."""
    device = f'[[device]]\nid = "crate-1"\nmaker = "{MAKER.name}"\n'
    return MINIMAL[: MINIMAL.index("[[device]]")] + "".join(tables) + device


WITH_MAKER = with_maker(maker(MAKER.name, MAKER))
LEAF = base64url_encode(der(MAKER.certify(Device("crate-1", "p256")))[0])
BUILDER, REBUILDER = (base64url_encode(dsse_key(seed).spki) for seed in ("builder", "rebuilder"))
QUORUM = "[build]\nquorum = 1\n"


def party(table: str, who: str, key: str) -> str:
    return f'[[{table}]]\nname = "{who}"\nkey = "{key}"\n'


REBUILT = MINIMAL + party("builder", "b", BUILDER) + party("rebuilder", "r", REBUILDER) + QUORUM

REFUSED = {
    "empty": ("", "version"),
    "no version": (lines_without("version"), "version"),
    "version 2": (MINIMAL.replace("version = 1", "version = 2"), "version"),
    "version true": (MINIMAL.replace("version = 1", "version = true"), "version"),
    "no operator": (f'version = 1\n[clock]\nmax_error = "1s"\n{SECOND_DEVICE}', "operator"),
    "empty operators": (f'version = 1\noperator = []\n[clock]\nmax_error = "1s"\n{SECOND_DEVICE}', "operator"),
    "no clock": (MINIMAL.replace('[clock]\nmax_error = "1s"\n', ""), "clock"),
    "no max_error": (lines_without("max_error"), "clock.max_error"),
    "no device": (MINIMAL[: MINIMAL.index("[[device]]")], "device"),
    "no name": (lines_without("name"), "operator[1].name"),
    "no log_key": (lines_without("log_key"), "operator[1].log_key"),
    "no level": (lines_without("level"), "operator[1].level"),
    "no id": (lines_without("id"), "device[1].id"),
    "no key": (lines_without("key"), "device[1].key"),
    "unknown key": ("surprise = 1\n" + MINIMAL, "surprise"),
    "unknown operator key": (with_operator("trust = true"), "operator[1].trust"),
    "unknown clock key": (MINIMAL.replace("[clock]", "[clock]\nmin_error = 1"), "clock.min_error"),
    "unknown device key": (MINIMAL + "x = 1\n", "device[1].x"),
    "unknown missing key": (MINIMAL + "[missing]\nall = true\n", "missing.all"),
    "a table that is none": ('clock = "1s"\n' + MINIMAL.replace('[clock]\nmax_error = "1s"\n', ""), "clock"),
    "a device that is no table": ("device = [1]\n" + MINIMAL[: MINIMAL.index("[[device]]")], "device[1]"),
    "a permission that is a number": (MINIMAL + "[missing]\nallow_lost = 1\n", "missing.allow_lost"),
    "empty name": (MINIMAL.replace('"Example Broker"', '""'), "operator[1].name"),
    "long name": (MINIMAL.replace("Example Broker", "x" * 256), "operator[1].name"),
    "unknown level": (MINIMAL.replace('"declared"', '"certified"'), "operator[1].level"),
    "vkey of another name": (MINIMAL.replace("broker.example/log+", "another.example/log+"), "operator[1].log_key"),
    "vkey with wrong digits": (MINIMAL.replace(BROKER.log_key.note_key_id.hex(), "00000000"), "operator[1].log_key"),
    "no vkey": (MINIMAL.replace(BROKER.log_key.vkey, "key"), "operator[1].log_key"),
    "no hash in the list": (with_operator("plugin = []"), "operator[1].plugin"),
    "a hash outside a list": (with_operator(f'plugin = "{"0" * 64}"'), "operator[1].plugin"),
    "upper case": (with_operator(f'plugin = ["{"A" * 64}"]'), "operator[1].plugin"),
    "a short hash": (with_operator(f'plugin = ["{"0" * 63}"]'), "operator[1].plugin"),
    "a hash that is a number": (with_operator("plugin = [1]"), "operator[1].plugin"),
    "max_error without unit": (MINIMAL.replace('"1s"', '"1"'), "clock.max_error"),
    "max_error of nothing": (MINIMAL.replace('"1s"', '"0s"'), "clock.max_error"),
    "max_error too large": (MINIMAL.replace('"1s"', '"86401s"'), "clock.max_error"),
    "max_error negative": (MINIMAL.replace('"1s"', '"-1s"'), "clock.max_error"),
    "max_error with a fraction": (MINIMAL.replace('"1s"', '"0.5s"'), "clock.max_error"),
    "max_error in other digits": (MINIMAL.replace('"1s"', '"١s"'), "clock.max_error"),
    "max_error as a number": (MINIMAL.replace('"1s"', "1"), "clock.max_error"),
    "device id with a slash": (MINIMAL.replace('"crate-1"', '"crate/1"'), "device[1].id"),
    "device id with a wildcard": (MINIMAL.replace('"crate-1"', '"+"'), "device[1].id"),
    "empty device id": (MINIMAL.replace('"crate-1"', '""'), "device[1].id"),
    "device id with a control character": (MINIMAL.replace('"crate-1"', '"crate\\u001b1"'), "device[1].id"),
    "device key that is no key": (MINIMAL.replace(KEY, "AAAA"), "device[1].key"),
    "device key with padding": (MINIMAL.replace(KEY, f"{KEY}="), "device[1].key"),
    "sequence_bits 32": (MINIMAL + "sequence_bits = 32\n", "device[1].sequence_bits"),
    "sequence_bits true": (MINIMAL + "sequence_bits = true\n", "device[1].sequence_bits"),
    "device id twice": (MINIMAL + SECOND_DEVICE.replace("crate-2", "crate-1"), "device[2].id"),
    "device key twice": (MINIMAL + f'[[device]]\nid = "crate-2"\nkey = "{KEY}"\n', "device[2].key"),
    "operator name twice": (MINIMAL + second_operator("Example Broker", OTHER_LOG), "operator[2].name"),
    "origin twice": (MINIMAL + second_operator("Other", SAME_ORIGIN), "operator[2].log_key"),
    "log key twice": (MINIMAL + second_operator("Other", RENAMED_LOG), "operator[2].log_key"),
    "device with key and maker": (WITH_MAKER + f'key = "{KEY}"\n', "device[1].key"),
    "device of no maker there": (with_maker(maker("Other", MAKER)), "device[1].maker"),
    "device maker as a table": (MINIMAL.replace(f'key = "{KEY}"', "maker = {}"), "device[1].maker"),
    "maker without a name": (with_maker(maker("", MAKER)), "maker[1].name"),
    "maker without a ca": (with_maker(f'[[maker]]\nname = "{MAKER.name}"\n'), "maker[1].ca"),
    "maker with a device's certificate": (with_maker(f'[[maker]]\nname = "x"\nca = "{LEAF}"\n'), "maker[1].ca"),
    "maker ca that is no certificate": (with_maker(f'[[maker]]\nname = "x"\nca = "{KEY}"\n'), "maker[1].ca"),
    "maker name twice": (with_maker(maker(MAKER.name, MAKER), maker(MAKER.name, Maker("Other"))), "maker[2].name"),
    "maker ca twice": (with_maker(maker(MAKER.name, MAKER), maker("Other", MAKER)), "maker[2].ca"),
    "maker key twice": (
        with_maker(maker(MAKER.name, MAKER), maker("Other", Maker("Other", MAKER.key))),
        "maker[2].ca",
    ),
    "builder without a key": (MINIMAL + '[[builder]]\nname = "b"\n', "builder[1].key"),
    "builder with a P-256 key": (MINIMAL + party("builder", "b", base64url_encode(KEYS[1].spki)), "builder[1].key"),
    "builder name twice": (
        MINIMAL + party("builder", "b", BUILDER) + party("builder", "b", REBUILDER),
        "builder[2].name",
    ),
    "builder key twice": (MINIMAL + party("builder", "b", BUILDER) + party("builder", "c", BUILDER), "builder[2].key"),
    "unknown builder key": (MINIMAL + party("builder", "b", BUILDER) + "trust = true\n", "builder[1].trust"),
    "rebuilder without a builder": (MINIMAL + party("rebuilder", "r", REBUILDER) + QUORUM, "rebuilder"),
    "rebuilder without a quorum": (REBUILT.replace(QUORUM, ""), "build"),
    "quorum without a rebuilder": (MINIMAL + party("builder", "b", BUILDER) + QUORUM, "build"),
    "quorum of nobody": (REBUILT.replace(QUORUM, "[build]\nquorum = 0\n"), "build.quorum"),
    "quorum above the rebuilders": (REBUILT.replace(QUORUM, "[build]\nquorum = 2\n"), "build.quorum"),
    "unknown build key": (REBUILT + "k = 1\n", "build.k"),
    "unknown maker key": (with_maker(maker(MAKER.name, MAKER) + "trust = true\n"), "maker[1].trust"),
    "hardware as a number": (with_maker(maker(MAKER.name, MAKER) + "hardware = 1\n"), "maker[1].hardware"),
    "makers as one table": (with_maker(maker(MAKER.name, MAKER).replace("[[maker]]", "[maker]")), "maker"),
    "duplicate TOML key": (MINIMAL.replace("version = 1", "version = 1\nversion = 1"), "file"),
    "not TOML": ("{}", "file"),
    "deep nesting": ("x = " + "[" * 100_000, "file"),
    "a huge number": ("version = " + "1" * 10_000, "file"),
}
