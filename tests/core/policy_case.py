"""A minimal policy, and every way in which the tests break one: what is wrong → (text, the field that is named)."""

from __future__ import annotations

from sigillo.core.bytes import base64url_encode
from sigillo.core.note import LogKey

from ..adversary.broker import Broker
from ..adversary.builder import dsse_key
from ..adversary.cosigner import Witness
from ..adversary.device import Device, ed25519_key
from ..adversary.maker import Maker, der
from ..adversary.tsa import POLICY as OID
from ..adversary.tsa import Tsa
from ..vector.key import filler

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
BUILD_QUORUM = "[build]\nquorum = 1\n"


def party(table: str, who: str, key: str) -> str:
    return f'[[{table}]]\nname = "{who}"\nkey = "{key}"\n'


REBUILT = MINIMAL + party("builder", "b", BUILDER) + party("rebuilder", "r", REBUILDER) + BUILD_QUORUM


def tsa_table(name: str, tsa: Tsa) -> str:
    root = base64url_encode(tsa.trust().roots[0])
    return f'[[tsa]]\nname = "{name}"\nroots = ["{root}"]\npolicy = ["{OID}"]\n'


def witness_table(name: str, witness: Witness) -> str:
    return f'[[witness]]\nname = "{name}"\nkey = "{witness.key.vkey}"\noperator = "University"\n'


ROOT, VKEY = base64url_encode(Tsa("A").trust().roots[0]), Witness("w1").key.vkey
TSA_TABLE, WITNESS_TABLE = tsa_table("A", Tsa("A")), witness_table("w1", Witness("w1"))
ANCHORS = '[anchors]\nquorum = 1\nmax_bracket = "10m"\n'
QUORUM = "[witnesses]\nquorum = 1\n"

AK, EK = (b"\0\x0b" + filler("attestation key")).hex(), filler("EK").hex()
REGISTRAR_KEY, OTHER_REGISTRAR_KEY = (
    base64url_encode(ed25519_key(seed).public_key().public_bytes_raw()) for seed in ("registrar", "another registrar")
)


def attester_table(pinned: str, operator: str = "Example Broker") -> str:
    return f'[[attester]]\noperator = "{operator}"\n{pinned}\n'


def tpm_maker(name: str, made: Maker, software: str = "false") -> str:
    root = base64url_encode(der([made.certificate])[0])
    return f'[[tpm_maker]]\nname = "{name}"\nroot = "{root}"\nsoftware = {software}\n'


def registrar_table(name: str, key: str) -> str:
    return f'[[registrar]]\nname = "{name}"\nkey = "{key}"\n'


CHIPS, REGISTRAR_TABLE = Maker("Example Chips"), registrar_table("Example Registrar", REGISTRAR_KEY)
ENDORSED = attester_table(f'endorsement_key = ["{EK}"]')
VOUCHED = MINIMAL + tpm_maker("Chips", CHIPS) + REGISTRAR_TABLE
WITH_EK = VOUCHED + ENDORSED
WITH_AK = MINIMAL + attester_table(f'key = ["{AK}"]\nsoftware = true') + "[attestation]\nallow_software = true\n"
CHIP_LEAF = base64url_encode(der(CHIPS.certify(Device("crate-1", "p256")))[0])

REFUSED_ATTESTERS = {
    "attester of no operator there": (WITH_AK.replace('operator = "Ex', 'operator = "An'), "attester[1].operator"),
    "attester without an operator": (
        MINIMAL + f'[[attester]]\nkey = ["{AK}"]\nsoftware = true\n',
        "attester[1].operator",
    ),
    "attester with nothing pinned": (MINIMAL + attester_table(""), "attester[1]"),
    "attester with both kinds of key": (
        VOUCHED + attester_table(f'key = ["{AK}"]\nsoftware = true\nendorsement_key = ["{EK}"]'),
        "attester[1]",
    ),
    "attester twice": (WITH_EK + ENDORSED, "attester[2].operator"),
    "attester key without software": (MINIMAL + attester_table(f'key = ["{AK}"]'), "attester[1].software"),
    "attester key outside a list": (MINIMAL + attester_table(f'key = "{AK}"\nsoftware = true'), "attester[1].key"),
    "attester without a key in its list": (MINIMAL + attester_table("key = []\nsoftware = true"), "attester[1].key"),
    "attester key twice": (WITH_AK.replace(f'["{AK}"]', f'["{AK}", "{AK}"]'), "attester[1].key"),
    "attester key of another algorithm": (WITH_AK.replace(AK, f"0004{AK[4:]}"), "attester[1].key"),
    "attester key that is a number": (WITH_AK.replace(f'"{AK}"', "1"), "attester[1].key"),
    "attester key in upper case": (WITH_AK.replace(AK, AK.upper()), "attester[1].key"),
    "short attester key": (WITH_AK.replace(AK, AK[:-1]), "attester[1].key"),
    "attester key as a fingerprint": (WITH_AK.replace(AK, EK), "attester[1].key"),
    "attester key with an identity": (
        MINIMAL + attester_table(f'key = ["{AK}"]\nsoftware = true\nidentity = "x"'),
        "attester[1].identity",
    ),
    "endorsement key without a registrar": (
        MINIMAL + tpm_maker("Chips", CHIPS) + ENDORSED,
        "attester[1].endorsement_key",
    ),
    "endorsement key without a maker": (MINIMAL + REGISTRAR_TABLE + ENDORSED, "attester[1].endorsement_key"),
    "endorsement key with software": (WITH_EK + "software = true\n", "attester[1].software"),
    "endorsement key as a key name": (WITH_EK.replace(EK, AK), "attester[1].endorsement_key"),
    "empty list of endorsement keys": (
        VOUCHED + attester_table("endorsement_key = []"),
        "attester[1].endorsement_key",
    ),
    "endorsement key twice": (WITH_EK.replace(f'["{EK}"]', f'["{EK}", "{EK}"]'), "attester[1].endorsement_key"),
    "empty identity": (WITH_EK + 'identity = ""\n', "attester[1].identity"),
    "unknown attester key": (WITH_EK + "trust = true\n", "attester[1].trust"),
    "tpm maker without software": (VOUCHED.replace("software = false\n", ""), "tpm_maker[1].software"),
    "tpm maker software as a number": (MINIMAL + tpm_maker("Chips", CHIPS, "1"), "tpm_maker[1].software"),
    "tpm maker without a root": (MINIMAL + '[[tpm_maker]]\nname = "Chips"\nsoftware = false\n', "tpm_maker[1].root"),
    "tpm maker with a leaf": (
        MINIMAL + f'[[tpm_maker]]\nname = "Chips"\nroot = "{CHIP_LEAF}"\nsoftware = false\n',
        "tpm_maker[1].root",
    ),
    "tpm maker without a name": (MINIMAL + tpm_maker("", CHIPS), "tpm_maker[1].name"),
    "tpm maker name twice": (VOUCHED + tpm_maker("Chips", MAKER), "tpm_maker[2].name"),
    "tpm maker root twice": (VOUCHED + tpm_maker("Programs", CHIPS, "true"), "tpm_maker[2].root"),
    "unknown tpm maker key": (MINIMAL + tpm_maker("Chips", CHIPS) + "trust = true\n", "tpm_maker[1].trust"),
    "registrar without a key": (MINIMAL + '[[registrar]]\nname = "Uni"\n', "registrar[1].key"),
    "registrar with a short key": (MINIMAL + registrar_table("Uni", REGISTRAR_KEY[:-2]), "registrar[1].key"),
    "registrar with a key of small order": (
        MINIMAL + registrar_table("Uni", base64url_encode(bytes(32))),
        "registrar[1].key",
    ),
    "registrar with padding": (MINIMAL + registrar_table("Uni", f"{REGISTRAR_KEY}="), "registrar[1].key"),
    "registrar without a name": (MINIMAL + registrar_table("", REGISTRAR_KEY), "registrar[1].name"),
    "registrar name twice": (
        VOUCHED + registrar_table("Example Registrar", OTHER_REGISTRAR_KEY),
        "registrar[2].name",
    ),
    "registrar key twice": (VOUCHED + registrar_table("Uni", REGISTRAR_KEY), "registrar[2].key"),
    "unknown registrar key": (VOUCHED + "trust = true\n", "registrar[1].trust"),
    "unknown attestation key": (MINIMAL + "[attestation]\nx = 1\n", "attestation.x"),
    "allow_software as a number": (MINIMAL + "[attestation]\nallow_software = 1\n", "attestation.allow_software"),
    "attestation as a list": (MINIMAL + "[[attestation]]\nallow_software = true\n", "attestation"),
    "allow_unattested as text": (MINIMAL + '[missing]\nallow_unattested = "yes"\n', "missing.allow_unattested"),
}

REFUSED = {
    **REFUSED_ATTESTERS,
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
    "rebuilder without a builder": (MINIMAL + party("rebuilder", "r", REBUILDER) + BUILD_QUORUM, "rebuilder"),
    "rebuilder without a quorum": (REBUILT.replace(BUILD_QUORUM, ""), "build"),
    "quorum without a rebuilder": (MINIMAL + party("builder", "b", BUILDER) + BUILD_QUORUM, "build"),
    "quorum of nobody": (REBUILT.replace(BUILD_QUORUM, "[build]\nquorum = 0\n"), "build.quorum"),
    "quorum above the rebuilders": (REBUILT.replace(BUILD_QUORUM, "[build]\nquorum = 2\n"), "build.quorum"),
    "unknown build key": (REBUILT + "k = 1\n", "build.k"),
    "unknown maker key": (with_maker(maker(MAKER.name, MAKER) + "trust = true\n"), "maker[1].trust"),
    "hardware as a number": (with_maker(maker(MAKER.name, MAKER) + "hardware = 1\n"), "maker[1].hardware"),
    "makers as one table": (with_maker(maker(MAKER.name, MAKER).replace("[[maker]]", "[maker]")), "maker"),
    "tsa without anchors": (MINIMAL + TSA_TABLE, "anchors"),
    "anchors without tsa": (MINIMAL + ANCHORS, "anchors"),
    "anchors quorum 0": (MINIMAL + TSA_TABLE + ANCHORS.replace("1", "0", 1), "anchors.quorum"),
    "anchors quorum larger than what is listed": (MINIMAL + TSA_TABLE + ANCHORS.replace("1", "2", 1), "anchors.quorum"),
    "anchors without quorum": (MINIMAL + TSA_TABLE + '[anchors]\nmax_bracket = "1m"\n', "anchors.quorum"),
    "anchors without max_bracket": (MINIMAL + TSA_TABLE + "[anchors]\nquorum = 1\n", "anchors.max_bracket"),
    "max_bracket of nothing": (MINIMAL + TSA_TABLE + ANCHORS.replace("10m", "0m"), "anchors.max_bracket"),
    "max_bracket too large": (MINIMAL + TSA_TABLE + ANCHORS.replace("10m", "367d"), "anchors.max_bracket"),
    "max_bracket in an unknown unit": (MINIMAL + TSA_TABLE + ANCHORS.replace("10m", "10w"), "anchors.max_bracket"),
    "unknown anchors key": (MINIMAL + TSA_TABLE + ANCHORS + "x = 1\n", "anchors.x"),
    "tsa name twice": (MINIMAL + TSA_TABLE + tsa_table("A", Tsa("B")) + ANCHORS, "tsa[2].name"),
    "tsa root twice": (MINIMAL + TSA_TABLE + tsa_table("B", Tsa("A")) + ANCHORS, "tsa[2].roots"),
    "tsa without a policy": (MINIMAL + TSA_TABLE.replace(f'"{OID}"', "") + ANCHORS, "tsa[1].policy"),
    "tsa policy that is no oid": (MINIMAL + TSA_TABLE.replace(OID, "one.two") + ANCHORS, "tsa[1].policy"),
    "tsa root that is a device's": (MINIMAL + TSA_TABLE.replace(ROOT, LEAF) + ANCHORS, "tsa[1].roots"),
    "tsa root that is a number": (MINIMAL + TSA_TABLE.replace(f'"{ROOT}"', "1") + ANCHORS, "tsa[1].roots"),
    "unknown tsa key": (MINIMAL + TSA_TABLE + "trust = true\n" + ANCHORS, "tsa[1].trust"),
    "witness without witnesses": (MINIMAL + WITNESS_TABLE, "witnesses"),
    "witnesses without witness": (MINIMAL + QUORUM, "witnesses"),
    "witness quorum larger than what is listed": (
        MINIMAL + WITNESS_TABLE + QUORUM.replace("1", "2"),
        "witnesses.quorum",
    ),
    "witness quorum 0": (MINIMAL + WITNESS_TABLE + QUORUM.replace("1", "0"), "witnesses.quorum"),
    "witness key twice": (MINIMAL + WITNESS_TABLE + WITNESS_TABLE.replace('"w1"', '"w2"') + QUORUM, "witness[2].key"),
    "witness name twice": (MINIMAL + WITNESS_TABLE + witness_table("w1", Witness("w2")) + QUORUM, "witness[2].name"),
    "witness without an operator": (
        MINIMAL + WITNESS_TABLE.replace("operator", "run_by") + QUORUM,
        "witness[1].operator",
    ),
    "witness with a log key": (MINIMAL + WITNESS_TABLE.replace(VKEY, BROKER.log_key.vkey) + QUORUM, "witness[1].key"),
    "duplicate TOML key": (MINIMAL.replace("version = 1", "version = 1\nversion = 1"), "file"),
    "not TOML": ("{}", "file"),
    "deep nesting": ("x = " + "[" * 100_000, "file"),
    "a huge number": ("version = " + "1" * 10_000, "file"),
}
