"""How this implementation reads the vectors of what a TPM says: raises what a reader must, or compares."""

from sigillo.core import attestation, challenge, counter, endorsement, event_log, ima, launch, sealing
from sigillo.core.booted import verify_booted
from sigillo.core.certificate import decode_certificate
from sigillo.core.epoch import configuration_hash
from sigillo.core.errors import DecodeError, PolicyError
from sigillo.core.mark import Checkpoint
from sigillo.core.note import LogKey
from sigillo.core.platform_trust import decode_platforms
from sigillo.core.process_state import ProcessState
from sigillo.core.quote import LAUNCH_PCR, Quote, Subject, verify_quote
from sigillo.core.table import Table, decode_toml
from sigillo.core.tpm import ClockInfo, decode_attestation_key
from tests.adversary.tpm import LyingTpm
from tests.vector.accept_seal import LOG_KEY
from tests.vector.read_log import Fields, hexadecimal


def read_quote(fields: Fields) -> None:
    nonce = hexadecimal(fields, "nonce") if "nonce" in fields else None
    checkpoint = Checkpoint(int(fields["checkpoint_size"]), hexadecimal(fields, "checkpoint_root"))
    values = hexadecimal(fields, "pcrs")
    found = verify_quote(
        decode_attestation_key(hexadecimal(fields, "key")),
        hexadecimal(fields, "quote"),
        hexadecimal(fields, "signature"),
        Subject(hexadecimal(fields, "epoch_id"), checkpoint, nonce),
        [values[at : at + 32] for at in range(0, len(values), 32)],
    )
    clock = found.clock
    assert (str(clock.clock_ms), str(clock.reset_count), str(clock.restart_count)) == tuple(
        fields[key] for key in ("clock", "reset_count", "restart_count")
    )
    assert (str(clock.safe).lower(), str(found.firmware)) == (fields["safe"], fields["firmware"])
    assert found.key.name.hex() == fields["key_name"]


def read_attestation(fields: Fields) -> None:
    data = hexadecimal(fields, "object")
    evidence = attestation.decode_attestation(data)
    found = _verified(evidence, fields)
    assert evidence.object_hash.hex() == fields["object_hash"]
    assert attestation.encode_attestation(evidence) == data
    assert str(found.clock.clock_ms) == fields["clock"]
    assert found.subject.epoch_id.hex() == fields["epoch_id"]
    checkpoint = found.subject.checkpoint
    assert (str(checkpoint.size), checkpoint.root.hex()) == (fields["checkpoint_size"], fields["checkpoint_root"])


def _verified(evidence: attestation.AttestationEvidence, fields: Fields) -> Quote:
    key_name = hexadecimal(fields, "key_name")
    if "nonce" in fields:
        return attestation.verify_answer(evidence, key_name, hexadecimal(fields, "nonce"))
    return attestation.verify_periodic(evidence, key_name)


def read_registration(fields: Fields) -> None:
    signed = endorsement.decode_registration(hexadecimal(fields, "object"))
    registrar = hexadecimal(fields, "registrar")
    key = endorsement.verify_registration(signed, registrar, fields["identity"])
    root = endorsement.EndorsementRoot("maker", decode_certificate(hexadecimal(fields, "root")), software=True)
    found = endorsement.verify_endorsement(signed.registration.chain, root)
    assert key.name.hex() == fields["key_name"]
    assert found.fingerprint.hex() == fields["ek"]
    assert str(signed.registration.time_ns) == fields["time"]


def read_event_log(fields: Fields) -> None:
    log = event_log.decode_event_log(hexadecimal(fields, "log"))
    pcrs = {int(name[4:]): bytes.fromhex(value) for name, value in fields.items() if name.startswith("pcr_")}
    quoted = [pcrs.get(index, event_log.ZERO) for index in range(24)]
    event_log.check_replay(log.events, quoted, range(24) if "events" in fields else pcrs)
    assert str(len(log.events)) == fields["events"]
    if len(log.algorithms) == 1:
        assert event_log.encode_event_log(log.events).hex() == fields["log"]


def read_closure(fields: Fields) -> None:
    data = hexadecimal(fields, "object")
    closure = launch.decode_closure(data)
    assert launch.encode_closure(closure) == data
    assert closure.object_hash.hex() == fields["object_hash"]
    assert str(len(closure.members)) == fields["files"]
    configuration = {m.name: m.digest for m in closure.members if m.role is launch.Role.CONFIGURATION}
    assert configuration_hash(configuration).hex() == fields["configuration"]


def read_launch_log(fields: Fields) -> None:
    data = hexadecimal(fields, "log")
    pcr = hexadecimal(fields, "pcr_13") if "pcr_13" in fields else _replayed(data)
    found = launch.verify_launch_log(data, pcr)
    assert (found.epoch_id.hex(), found.event.closure_hash.hex()) == (fields["epoch_id"], fields["closure_hash"])
    assert (str(found.launches), str(found.event.epoch_number)) == (fields["launches"], fields["epoch_number"])
    assert fields.items() >= _process(found.process).items()
    assert ("ptrace_scope" in fields) == (found.process.ptrace_scope is not None)
    events = launch.decode_launch_log(data).events
    for event in events:
        decoded = launch.decode_launch_event(event)
        assert decoded is not None
        assert launch.encode_launch_event(decoded) == event


def _process(state: ProcessState) -> dict[str, str]:
    found = {
        "user": state.uid,
        "group": state.gid,
        "groups": len(state.groups),
        "capabilities": state.capabilities,
        "no_new_privs": state.no_new_privs,
        "seccomp": state.seccomp,
        "tracer": state.tracer,
        "dumpable": state.dumpable,
        "core_soft": state.core_limit[0],
        "core_hard": state.core_limit[1],
        "ptrace_scope": state.ptrace_scope,
    }
    return {name: str(value).lower() for name, value in found.items() if value is not None}


def _replayed(data: bytes) -> bytes:
    return event_log.replay(launch.decode_launch_log(data).events)[LAUNCH_PCR]


def read_ima(fields: Fields) -> None:
    data = hexadecimal(fields, "list")
    if "pcr_10" not in fields:
        ima.decode_measurements(data)
        return
    pcrs = [hexadecimal(fields, f"pcr_{index}") for index in range(ima.IMA_PCR + 1)]
    found = ima.verify_measurements(data, pcrs)
    assert str(len(found)) == fields["measurements"]
    assert found[-1].path_bytes.hex() == fields["last"]
    assert str(sum(measurement.violated for measurement in found)) == fields["violations"]


def read_challenge(fields: Fields) -> None:
    data = fields["answer"].encode()
    answer = challenge.decode_challenge_answer(data)
    found = challenge.verify_challenge_answer(answer, hexadecimal(fields, "nonce"))
    assert challenge.encode_challenge_answer(answer) == data
    assert found.key.name.hex() == fields["key_name"]
    assert found.subject.epoch_id.hex() == fields["epoch_id"]
    assert str(found.subject.checkpoint.size) == fields["checkpoint_size"]
    texts = list(answer.texts.values())
    assert str(texts.count(None)) == fields["hidden"]
    assert str(len(texts) - texts.count(None)) == fields["shown"]


def read_sealed_key(fields: Fields) -> None:
    data = hexadecimal(fields, "object")
    found = sealing.decode_sealed_key(data)
    values = hexadecimal(fields, "boot_values")
    approval = found.approved([values[at : at + 32] for at in range(0, len(values), 32)])
    assert sealing.encode_sealed_key(found) == data
    assert found.owner.name.hex() == fields["owner_name"]
    assert sealing.sealing_policy(found.owner, found.log_key).hex() == fields["policy"]
    assert sealing.pcr_policy(approval.values).hex() == fields["pcr_policy"]


def read_counter(fields: Fields) -> None:
    record = counter.verify_counter_record(
        hexadecimal(fields, "object"), LogKey.from_vkey(fields.get("vkey", LOG_KEY.vkey))
    )
    found = record.checkpoint
    assert (str(record.value), str(found.size)) == (fields["value"], fields["size"])
    assert found.root.hex() == fields["root"]


def read_platform(fields: Fields) -> None:
    try:
        (found,) = decode_platforms(Table(decode_toml(hexadecimal(fields, "table")), ""))
    except PolicyError as error:
        raise DecodeError(error.field, error.reason) from error
    counts = (sum(map(len, found.boot.values())), len(found.command_lines), len(found.files))
    assert (found.operator, found.name) == (fields["operator"], fields["name"])
    assert [str(count) for count in counts] == [fields[name] for name in ("values", "command_lines", "files")]


def read_booted(fields: Fields) -> None:
    values = hexadecimal(fields, "pcrs")
    pcrs = tuple(values[at : at + 32] for at in range(0, len(values), 32))
    quote = Quote(LyingTpm().key, Subject(bytes(32), Checkpoint()), ClockInfo(0, 0, 0, True), 0, pcrs)
    (platform,) = decode_platforms(Table(decode_toml(hexadecimal(fields, "platform")), ""))
    boot_log = event_log.decode_event_log(hexadecimal(fields, "boot_log"))
    closure = launch.decode_closure(hexadecimal(fields, "closure"))
    found = verify_booted(boot_log, hexadecimal(fields, "list"), quote, closure, platform)
    said = (found.platform, found.command_line, str(found.files), str(len(found.before)))
    assert said == tuple(fields[name] for name in ("name", "command_line", "files", "before"))


TPM_READERS = {
    "booted": read_booted,
    "platform": read_platform,
    "quote": read_quote,
    "attestation-evidence": read_attestation,
    "registration": read_registration,
    "event-log": read_event_log,
    "closure": read_closure,
    "launch-log": read_launch_log,
    "ima": read_ima,
    "challenge": read_challenge,
    "sealed-key": read_sealed_key,
    "counter": read_counter,
}
