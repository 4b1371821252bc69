"""The committed vector files are what the cases make; and this implementation reads each as it must."""

from collections.abc import Callable

import pytest

from sigillo.core import entry, epoch, handshake, mark, spool
from sigillo.core.cose import verify_ed25519
from sigillo.core.datagram import decode_datagram
from sigillo.core.device_key import DeviceKey
from sigillo.core.errors import AttestationError, DecodeError, MerkleError, SignatureError
from sigillo.core.marked_datagram import (
    decode_marked_datagram,
    encode_marked_datagram,
    has_broker_keys,
    is_signed_datagram,
    payload_as_received,
)
from sigillo.core.reading import decode_reading
from sigillo.core.statement import Carrier
from tests.vector import exchange, make
from tests.vector.file import VECTORS, parse_vector, paths, read_vector
from tests.vector.key import EPOCH, LOG, Ed25519Key
from tests.vector.read_log import LOG_READERS
from tests.vector.read_tpm import TPM_READERS

Fields = dict[str, str]


def hexadecimal(fields: Fields, name: str) -> bytes:
    return bytes.fromhex(fields[name])


def read_mark(fields: Fields) -> None:
    signed = mark.decode_mark(hexadecimal(fields, "object"))
    verify_ed25519(EPOCH.public, signed.sign1.signature, signed.sign1.signed_bytes())
    compare_mark(signed, fields)
    assert EPOCH.seed.hex() == fields["seed"]


def read_batch_mark(fields: Fields) -> None:
    compare_mark(mark.decode_batch_mark(hexadecimal(fields, "object")), fields)


def compare_mark(signed: mark.SignedMark, fields: Fields) -> None:
    if "object_hash" not in fields:
        return
    found = signed.mark
    salt = mark.mark_salt(hexadecimal(fields, "salt_key"), found.sequence)
    assert signed.salt == salt
    assert found.commitment == mark.payload_commitment(salt, hexadecimal(fields, "payload"))
    assert signed.object_hash.hex() == fields["object_hash"]
    assert signed.epoch_id.hex() == fields["epoch_id"]
    assert (found.sequence, found.time_ns, found.count) == tuple(
        int(fields[key]) for key in ("sequence", "time", "count")
    )
    assert (found.topic, found.client_id, found.principal) == (
        fields["topic"],
        fields["client_id"],
        fields["principal"],
    )
    assert (str(found.qos), str(found.retain).lower()) == (fields["qos"], fields["retain"])
    assert found.previous.hex() == fields["previous"]
    assert (str(found.checkpoint.size), found.checkpoint.root.hex()) == (
        fields["checkpoint_size"],
        fields["checkpoint_root"],
    )
    assert found.repeat_of == (int(fields["repeat_of"]) if "repeat_of" in fields else None)
    assert found.before == (hexadecimal(fields, "before") if "before" in fields else None)
    assert signed.sign1.encode().hex() == fields["object"]


def read_statement(fields: Fields) -> None:
    signed = epoch.decode_statement(hexadecimal(fields, "object"))
    if "countersigned" in fields:
        verify_ed25519(signed.statement.epoch_key, signed.sign1.signature, signed.sign1.signed_bytes())
        countersigned = epoch.decode_statement(hexadecimal(fields, "countersigned"))
        assert countersigned.countersignature
        verify_ed25519(LOG.public, countersigned.countersignature.signature, countersigned.countersigned_bytes())
        assert countersigned.epoch_id == signed.epoch_id == hexadecimal(fields, "object_hash")
        assert signed.statement.epoch_key.hex() == fields["epoch_key"]
        assert str(signed.statement.start_ns) == fields["start"]
        made = epoch.encode_statement(signed.statement, EPOCH.sign)
        assert made.hex() == fields["object"]
        log_key_id = countersigned.countersignature.key_id
        assert epoch.countersign(made, log_key_id, LOG.sign).hex() == fields["countersigned"]


def read_end(fields: Fields) -> None:
    signed = epoch.decode_epoch_end(hexadecimal(fields, "object"))
    if "object_hash" in fields:
        assert signed.object_hash.hex() == fields["object_hash"]
        assert epoch.encode_epoch_end(signed.end, signed.epoch_id, EPOCH.sign).hex() == fields["object"]


def read_seal(fields: Fields) -> None:
    signed = epoch.decode_seal(hexadecimal(fields, "object"))
    if "object_hash" in fields:
        assert signed.object_hash.hex() == fields["object_hash"]
        assert epoch.encode_seal(signed.seal, signed.epoch_id, EPOCH.sign).hex() == fields["object"]


def read_entry(fields: Fields) -> None:
    found = entry.decode_entry(hexadecimal(fields, "entry"))
    if "kind" in fields:
        assert (int(found.kind), found.epoch, found.sequence) == tuple(
            int(fields[key]) for key in ("kind", "epoch", "sequence")
        )
        assert found.object_hash.hex() == fields["object_hash"]
        assert entry.encode_entry(found).hex() == fields["entry"]


def read_datagram(fields: Fields) -> None:
    found = decode_datagram(hexadecimal(fields, "payload"))
    key = DeviceKey.from_spki(hexadecimal(fields, "public_key"))
    assert key.kind == fields["key_type"]
    key.verify(found.signature, found.signed_bytes)
    assert found.signed_bytes.hex() == fields["signed_bytes"]
    assert (found.signature.hex(), str(found.ver), str(found.ts)) == (fields["signature"], fields["ver"], fields["ts"])


def read_reading(fields: Fields) -> None:
    found = decode_reading(hexadecimal(fields, "payload"), fields["topic"])
    key = DeviceKey.from_spki(hexadecimal(fields, "public_key"))
    assert key.kind == fields["key_type"]
    key.verify(found.signature, found.signed_bytes)
    assert found.device_id.encode().hex() == fields["kid"]
    assert found.signed_bytes.hex() == fields["signed_bytes"]


def read_marked_datagram(fields: Fields) -> None:
    if "answer" in fields:
        payload = hexadecimal(fields, "payload")
        assert has_broker_keys(payload) == (fields["answer"] == "taken")
        assert not is_signed_datagram(payload)
        encode_marked_datagram(payload, 0, b"")
        return
    marked = hexadecimal(fields, "marked")
    found = decode_marked_datagram(marked)
    if "payload" not in fields:
        return
    key = Ed25519Key(hexadecimal(fields, "token_seed")) if "token_seed" in fields else None
    token = key.sign(found.token_bytes) if key else hexadecimal(fields, "token")
    received, time_ns = hexadecimal(fields, "payload"), int(fields["time"])
    assert (found.received, found.ingestion_time, found.token) == (received, time_ns // 10**6, token)
    assert is_signed_datagram(received)
    assert not has_broker_keys(received)
    assert has_broker_keys(marked)
    assert encode_marked_datagram(received, time_ns, token) == marked
    token_key = key.public if key else None
    assert payload_as_received(marked, token, time_ns, Carrier.DATAGRAM, token_key) == received


def read_spool(fields: Fields) -> None:
    segment = spool.decode_segment(hexadecimal(fields, "segment"))
    if segment.end.ending is spool.Ending.TORN:
        raise DecodeError("spool segment", segment.end.reason)
    assert segment.end.ending.value == fields["ending"]
    found = [(str(int(item.kind)), str(item.sequence), item.object_bytes.hex()) for item in segment.records]
    numbers = range(1, int(fields["records"]) + 1)
    assert found == [(fields[f"kind_{n}"], fields[f"sequence_{n}"], fields[f"object_{n}"]) for n in numbers]


def read_packet(fields: Fields) -> None:
    packet = handshake.decode_packet(hexadecimal(fields, "packet"))
    assert handshake.encode_packet(packet).hex() == fields["packet"]


READERS: dict[str, Callable[[Fields], None]] = {
    "mark": read_mark,
    "batch-mark": read_batch_mark,
    "epoch-statement": read_statement,
    "epoch-end": read_end,
    "seal": read_seal,
    "log-entry": read_entry,
    "datagram": read_datagram,
    "reading": read_reading,
    "marked-datagram": read_marked_datagram,
    "spool": read_spool,
    "handshake": read_packet,
    **LOG_READERS,
    **TPM_READERS,
    "registration-exchange": exchange.read,
}

DECIDES = {
    "public_key",
    "vkey",
    "witness_vkey",
    "principal",
    "root",
    "new_root",
    "step_1",
    "key_name",
    "registrar",
    "boot_log",
    "boot_values",
}
DECIDES |= {f"pcr_{index}" for index in range(24)}
"""Fields of the vectors that are well formed and refused by cryptography."""


@pytest.mark.parametrize("name", READERS)
def test_accepted(name: str) -> None:
    for path in paths(name, "accept"):
        try:
            READERS[name](read_vector(path))
        except (DecodeError, SignatureError, MerkleError, AttestationError, AssertionError) as error:
            pytest.fail(f"{path}: {error}")


@pytest.mark.parametrize("name", READERS)
def test_refused(name: str) -> None:
    accepted = []
    for path in paths(name, "reject"):
        fields = read_vector(path)
        assert fields["reason"], path
        try:
            READERS[name](fields)
        except (SignatureError, MerkleError, AttestationError):
            assert DECIDES & fields.keys(), f"{path}: refused only by its signature or hashes"
        except DecodeError:
            assert not DECIDES & fields.keys(), f"{path}: not well formed, though it has what decides"
        except KeyError:
            accepted.append(path)
        else:
            accepted.append(path)
    assert not accepted


def test_committed_files_are_what_the_cases_make() -> None:
    made = make.files()
    assert make.committed() == made.keys()
    for path, text in made.items():
        assert path.read_text(encoding="utf-8") == text, path


def test_a_value_is_text_as_is() -> None:
    assert parse_vector("# comment\n\nname: a: b \nempty:\n") == {"name": "a: b ", "empty": ""}


def test_every_folder_has_a_reader() -> None:
    # read by the tests of those formats
    others = {"accusation", "certificate", "evidence", "manifest", "policy", "rebuild-statement", "rule", "timestamp"}
    assert {path.name for path in VECTORS.iterdir()} - others == READERS.keys()
