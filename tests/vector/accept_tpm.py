"""Accept vectors of what a TPM says. Those called `swtpm-…` were recorded from a real one (`record_tpm.py`)."""

import hashlib

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sigillo.core.attestation import AttestationEvidence, encode_attestation
from sigillo.core.endorsement import Registration, encode_registration
from sigillo.core.epoch import configuration_hash
from sigillo.core.event_log import EventType, LoggedEvent, decode_event_log, encode_event_log, replay
from sigillo.core.ima import IMA_PCR
from sigillo.core.launch import Closure, EpochEvent, LaunchEvent, Member, Role, encode_closure, encode_launch_event
from sigillo.core.process_state import UNLIMITED, ProcessState
from sigillo.core.quote import LAUNCH_PCR, SELECTION, Subject
from sigillo.core.tpm import decode_attest, decode_attestation_key
from tests.adversary.tpm import LyingTpm
from tests.vector import accept_ima
from tests.vector.file import Value, read_vector
from tests.vector.key import Ed25519Key, filler
from tests.vector.sample import EPOCH_ID, START_NS, U64_MAX
from tests.vector.sample_tpm import CHALLENGED, CLOSING, CLOSURE, LAUNCH, LAUNCHES, OPENING, PROCESS, RECORDED

Vector = dict[str, Value]
REGISTRAR = Ed25519Key(filler("registrar"))
IDENTITY = "broker.example/log"


def _recorded() -> dict[str, bytes]:
    return {name: bytes.fromhex(value) for name, value in read_vector(RECORDED).items()}


def recorded(name: str, subject: Subject) -> AttestationEvidence:
    """A recorded quote: "opening", "closing" or "challenged"."""
    fields = _recorded()
    pcrs = tuple(fields[f"{name}_pcr_{index}"] for index in SELECTION)
    return AttestationEvidence(subject, fields["key"], fields[f"{name}_quote"], fields[f"{name}_signature"], pcrs)


def chain() -> tuple[bytes, bytes]:
    """The recorded certificates of the EK, its own first."""
    fields = _recorded()
    return fields["chain_1"], fields["chain_2"]


def root() -> bytes:
    """The recorded root of the software TPM's maker, DER."""
    return _recorded()["root"]


def launched() -> LyingTpm:
    """A TPM in memory after the launches of the sample."""
    tpm = LyingTpm()
    tpm.extend(LAUNCH_PCR, [event.digest for event in LAUNCHES])
    return tpm


def evidences() -> dict[str, AttestationEvidence]:
    """Good evidence by name."""
    return {
        "swtpm-opening": recorded("opening", OPENING),
        "swtpm-closing": recorded("closing", CLOSING),
        "swtpm-challenged": recorded("challenged", CHALLENGED),
        "simulated": launched().quote(OPENING),
        "limits": LyingTpm(pcrs=dict.fromkeys(SELECTION, b"\xff" * 32)).quote(
            CLOSING, clock=U64_MAX, resets=2**32 - 1, restarts=2**32 - 1, safe=0, firmware=U64_MAX
        ),
    }


def subject_fields(evidence: AttestationEvidence) -> Vector:
    """What the quote is about."""
    subject = evidence.subject
    fields: Vector = {
        "epoch_id": subject.epoch_id,
        "checkpoint_size": subject.checkpoint.size,
        "checkpoint_root": subject.checkpoint.root,
    }
    return fields | ({} if subject.nonce is None else {"nonce": subject.nonce})


def quote_fields(evidence: AttestationEvidence) -> Vector:
    """Everything that a quote is verified with."""
    structures: Vector = {
        "key": evidence.key_bytes,
        "quote": evidence.attest_bytes,
        "signature": evidence.signature_bytes,
    }
    return structures | subject_fields(evidence) | {"pcrs": b"".join(evidence.pcrs)}


def quotes() -> dict[str, Vector]:
    """vectors/quote/accept."""
    made: dict[str, Vector] = {}
    for name, evidence in evidences().items():
        attest = decode_attest(evidence.attest_bytes)
        made[name] = quote_fields(evidence) | {
            "key_name": decode_attestation_key(evidence.key_bytes).name,
            "clock": attest.clock.clock_ms,
            "reset_count": attest.clock.reset_count,
            "restart_count": attest.clock.restart_count,
            "safe": attest.clock.safe,
            "firmware": attest.firmware,
        }
    return made


def attestations() -> dict[str, Vector]:
    """vectors/attestation-evidence/accept."""
    return {
        name: {"object": encode_attestation(evidence), "object_hash": evidence.object_hash}
        | subject_fields(evidence)
        | {
            "key_name": decode_attestation_key(evidence.key_bytes).name,
            "clock": decode_attest(evidence.attest_bytes).clock.clock_ms,
        }
        for name, evidence in evidences().items()
    }


def registration(**changes: object) -> Registration:
    """Of the recorded TPM, with changes."""
    values: dict[str, object] = {
        "time_ns": START_NS,
        "identity": IDENTITY,
        "key": decode_attestation_key(_recorded()["key"]),
        "chain": chain(),
    }
    return Registration(**{**values, **changes})  # type: ignore[arg-type]


def registrations() -> dict[str, Vector]:
    """vectors/registration/accept."""
    good = registration()
    ek = x509.load_der_x509_certificate(good.chain[0]).public_key()
    spki = ek.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    with_root = registration(chain=(*chain(), root()))
    return {
        name: {
            "registrar": REGISTRAR.public,
            "identity": found.identity,
            "root": root(),
            "object": encode_registration(found, REGISTRAR.public, REGISTRAR.sign),
            "key_name": found.key.name,
            "ek": hashlib.sha256(spki).digest(),
            "time": found.time_ns,
        }
        for name, found in {"swtpm": good, "swtpm-with-root": with_root}.items()
    }


def tagged(tag: int, payload: bytes) -> bytes:
    """Data of an EV_EVENT_TAG."""
    return tag.to_bytes(4, "little") + len(payload).to_bytes(4, "little") + payload


def hashed(pcr: int, event_type: int, data: bytes) -> LoggedEvent:
    """An event whose digest is the hash of its data."""
    return LoggedEvent(pcr, event_type, hashlib.sha256(data).digest(), data)


def variable(name: str, data: bytes) -> bytes:
    """UEFI_VARIABLE_DATA of a global variable."""
    guid = bytes.fromhex("61dfe48bca93d211aa0d00e098032b8c")
    return guid + len(name).to_bytes(8, "little") + len(data).to_bytes(8, "little") + name.encode("utf-16-le") + data


BOOT = (
    LoggedEvent(0, EventType.NO_ACTION, bytes(32), b"StartupLocality\0\x03"),
    hashed(0, EventType.S_CRTM_VERSION, "example 1".encode("utf-16-le")),
    LoggedEvent(2, 0x8000_0008, filler("firmware volume"), (0x90_0000).to_bytes(8, "little") + bytes(8)),
    hashed(7, EventType.EFI_VARIABLE_DRIVER_CONFIG, variable("SecureBoot", b"\1")),
    *(hashed(index, EventType.SEPARATOR, bytes(4)) for index in range(8)),
    LoggedEvent(9, EventType.EVENT_TAG, filler("initrd"), tagged(0x8F3B22EC, b"Linux initrd\0")),
)
"""Events as firmware and Linux write them."""


def event_logs() -> dict[str, Vector]:
    """vectors/event-log/accept."""
    logs = {"empty": (), "launches": LAUNCHES, "boot": BOOT, "boot-and-launches": BOOT + LAUNCHES}
    made: dict[str, Vector] = {
        name: {"log": encode_event_log(events), "events": len(events)} for name, events in logs.items()
    }
    real = accept_ima.recorded()
    pcrs = {f"pcr_{i}": value for i, value in enumerate(accept_ima.recorded_pcrs(1)) if any(value) and i != IMA_PCR}
    made["linux-boot"] = {"log": real["boot_log"], "events": len(decode_event_log(real["boot_log"]).events)} | pcrs
    made["banks"] = {"log": two_banks(BOOT), "events": len(BOOT)}
    for name, events in {**logs, "banks": BOOT}.items():
        made[name] |= {f"pcr_{index}": value for index, value in enumerate(replay(events)) if value != bytes(32)}
    return made


def two_banks(events: tuple[LoggedEvent, ...]) -> bytes:
    """The same log with a SHA-1 bank in front, whose digests nobody looks at."""
    banks = bytes.fromhex("0400 1400 0b00 2000")
    spec = b"Spec ID Event03\0" + bytes(4) + b"\0\x02\0\x02" + b"\x02\0\0\0" + banks + b"\0"
    made = bytes(4) + b"\x03\0\0\0" + bytes(20) + len(spec).to_bytes(4, "little") + spec
    for event in events:
        made += event.pcr.to_bytes(4, "little") + int(event.event_type).to_bytes(4, "little") + b"\x02\0\0\0"
        made += b"\x04\0" + b"\xaa" * 20 + b"\x0b\0" + event.digest
        made += len(event.data).to_bytes(4, "little") + event.data
    return made


def closures() -> dict[str, Vector]:
    """vectors/closure/accept."""
    few = Closure.of([Member(Role.EXECUTABLE, "/b", filler("b")), Member(Role.PLUGIN, "/p", filler("p"))])
    made: dict[str, Vector] = {}
    for name, found in {"first": CLOSURE, "smallest": few}.items():
        configuration = {m.name: m.digest for m in found.members if m.role is Role.CONFIGURATION}
        made[name] = {
            "object": encode_closure(found),
            "object_hash": found.object_hash,
            "files": len(found.members),
            "configuration": configuration_hash(configuration),
        }
    return made


BAD_PROCESS = ProcessState(
    uid=0,
    gid=0,
    groups=(0, 4, 2**32 - 1),
    capabilities=2**41 - 1,
    no_new_privs=False,
    seccomp=2,
    tracer=4711,
    dumpable=True,
    core_limit=(0, UNLIMITED),
    ptrace_scope=3,
)
"""Well formed, and of a process that nobody should believe."""


def launch_logs() -> dict[str, Vector]:
    """vectors/launch-log/accept."""
    once = LAUNCHES[1:]
    other = LaunchEvent(7, filler("closure 7"), ("/broker",), ("TZ=UTC",))
    epoch, bad_epoch = EpochEvent(EPOCH_ID, PROCESS), EpochEvent(filler("epoch 7"), BAD_PROCESS)
    later = (*LAUNCHES, encode_launch_event(other), encode_launch_event(bad_epoch))
    return {
        "swtpm": _launch_log(LAUNCHES, LAUNCH, epoch, 2),
        "first": _launch_log(once, LAUNCH, epoch, 1),
        "again": _launch_log(later, other, bad_epoch, 3),
    }


def _launch_log(events: tuple[LoggedEvent, ...], last: LaunchEvent, epoch: EpochEvent, launches: int) -> Vector:
    return {
        "log": encode_event_log(events),
        "pcr_13": replay(events)[LAUNCH_PCR],
        "epoch_id": epoch.epoch_id,
        "epoch_number": last.epoch_number,
        "closure_hash": last.closure_hash,
        "launches": launches,
    } | process_fields(epoch.process)


def process_fields(state: ProcessState) -> Vector:
    """A process state, field by field."""
    fields: Vector = {
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
    }
    return fields | ({} if state.ptrace_scope is None else {"ptrace_scope": state.ptrace_scope})


ACCEPT_TPM = {
    "quote": quotes,
    "attestation-evidence": attestations,
    "registration": registrations,
    "event-log": event_logs,
    "closure": closures,
    "launch-log": launch_logs,
    "ima": accept_ima.lists,
}
