"""Each carrier, as its readers read it: a datagram with the broker's keys, raw tokens, companions; repeats of them."""

from __future__ import annotations

import itertools
import subprocess
import time
from collections.abc import Iterator

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sigillo.core.cose import verify_ed25519
from sigillo.core.mark import SignedMark, decode_mark, is_committed
from sigillo.core.marked_datagram import decode_marked_datagram, encode_marked_datagram
from sigillo.core.statement import Carrier, MarkedFilter

from ..vector.accept import pairs_of, signed_map
from ..vector.key import TRACKER_P256
from .launcher import Broker, broker
from .peer import Peer, Received, Wire, publish_packet

FILTERS = (
    MarkedFilter("d/#", carrier=Carrier.DATAGRAM),
    MarkedFilter("t/#", carrier=Carrier.TOPIC),
    MarkedFilter("m/#"),
)
_NUMBERS = itertools.count(1)


def datagram(pairs: int = 4, *, indefinite: bool = False) -> bytes:
    """A signed datagram that no other is like."""
    values = {"TS": 1_764_000_000, "VER": next(_NUMBERS)} | {f"K{number}": number for number in range(pairs - 3)}
    return signed_map(pairs_of(values), TRACKER_P256.sign, indefinite=indefinite)


@pytest.fixture(scope="module")
def made(plugin: None) -> Iterator[Broker]:
    with broker(fields={"filters": FILTERS}) as made:
        yield made.start()


@pytest.fixture(scope="module")
def raw(plugin: None) -> Iterator[Broker]:
    with broker(fields={"filters": FILTERS}, limits={"raw_tokens": True}) as made:
        yield made.start()


def mark_inside(made: Broker, message: Received, sent: bytes) -> SignedMark:
    """The mark in a marked datagram; everything about it checked."""
    found = decode_marked_datagram(message.payload)
    signed = decode_mark(found.token)
    made.check([signed])
    assert found.received == sent
    assert is_committed(signed, sent)
    assert found.ingestion_time == signed.mark.time_ns // 10**6
    assert message.payload == encode_marked_datagram(sent, signed.mark.time_ns, found.token)
    assert message.carriers == []
    return signed


@pytest.mark.parametrize("indefinite", [False, True], ids=["definite", "indefinite"])
@pytest.mark.parametrize("pairs", [4, 21, 22, 23, 24, 63, 64])
def test_a_signed_datagram_gets_the_brokers_keys(made: Broker, pairs: int, indefinite: bool) -> None:
    sent = datagram(pairs, indefinite=indefinite)
    with Peer(made.port, "new") as new, Peer(made.port, "old", v5=False) as old, Peer(made.port, "crate") as crate:
        new.subscribe("d/#")
        old.subscribe("d/#")
        assert crate.publish("d/1", sent) == 0
        messages = new.take() + old.take()
    for message in messages:  # a subscriber of MQTT 3.1.1 reads the same
        signed = mark_inside(made, message, sent)
        assert (signed.mark.topic, signed.mark.repeat_of) == ("d/1", None)
        values = cbor2.loads(message.payload)
        assert list(values)[-3:] == ["SIGN", "INGESTION_TIME", "VERIFICATION_TOKEN"]
        assert abs(values["INGESTION_TIME"] / 1000 - time.time()) < 600  # a date, not a fraction of a second


PLAIN = {
    "empty": b"",
    "text": b"21.5",
    "json": b'{"SIGN": 1}',
    "not-signed": cbor2.dumps({"TS": 1, "VER": 2}),
    "sign-not-last": cbor2.dumps({"SIGN": bytes(64), "TS": 1}),
    "sign-short": cbor2.dumps({"TS": 1, "SIGN": bytes(63)}),
    "key-twice": b"\xa3\x61A\x01\x61A\x02\x64SIGN\x58\x40" + bytes(64),
    "long-head": b"\xb8\x02\x62TS\x01\x64SIGN\x58\x40" + bytes(64),
    "byte-behind": cbor2.dumps({"TS": 1, "SIGN": bytes(64)}) + b"\0",
    "cut": cbor2.dumps({"TS": 1, "SIGN": bytes(64)})[:-1],
    "65-pairs": cbor2.dumps({f"K{number}": 0 for number in range(64)} | {"SIGN": bytes(64)}),
    "nested-17": b"\xa2\x61A" + b"\x81" * 16 + b"\0\x64SIGN\x58\x40" + bytes(64),
    "keys-in-body": cbor2.dumps({"BODY": {"INGESTION_TIME": 1}, "VER": "VERIFICATION_TOKEN"}),
    "not-utf8": b"\xff\xfe\x00",
    "huge-length": b"\xbb" + b"\xff" * 8,
    "bomb": b"\x9f" * 1000,
}


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("v5", [True, False], ids=["5", "3.1.1"])
def test_any_other_payload_is_untouched_and_marked_by_property(made: Broker, name: str, v5: bool) -> None:
    with Peer(made.port, "reader") as reader, Peer(made.port, "crate", v5=v5) as crate:
        reader.subscribe("d/#")
        for _ in range(2):
            assert crate.publish("d/1", PLAIN[name]) == 0
        messages = reader.take(2)
        assert crate.disconnected.empty()
    for message in messages:
        assert message.payload == PLAIN[name]
        signed = message.mark()
        made.check([signed])
        assert signed.mark.repeat_of is None  # nobody can tell two readings of 21.5 from one sent twice


TAKEN = {
    "time": cbor2.dumps({"INGESTION_TIME": 1, "SIGN": bytes(64)}),
    "token": cbor2.dumps({"TS": 1, "SIGN": bytes(64), "VERIFICATION_TOKEN": b""}),
    "whole": encode_marked_datagram(datagram(), 10**18, bytes(64)),
    "indefinite": b"\xbf\x6eINGESTION_TIME\x01\xff",
    "tagged": b"\xd9\xd9\xf7" + cbor2.dumps({"INGESTION_TIME": 1}),
    "long-heads": b"\xb9\x00\x01\x79\x00\x0eINGESTION_TIME\x01",
    "in-chunks": b"\xa1\x7f\x65INGES\x69TION_TIME\xff\x01",
    "behind-a-number": b"\xa2\x01\x02\x6eINGESTION_TIME\x01",
    "cut-behind-it": b"\xa2\x6eINGESTION_TIME",
    "malformed-behind-it": b"\xa3\x6eINGESTION_TIME\x01\xff",
    "behind-a-deep-one": b"\xa2\x61A" + b"\x81" * 900 + b"\0\x6eINGESTION_TIME\x01",
    "too-deep-to-tell": b"\xa2\x61A" + b"\x81" * 2000 + b"\0\x61B\x01",
}


@pytest.mark.parametrize("name", TAKEN)
def test_a_payload_with_the_brokers_keys_is_refused(made: Broker, name: str) -> None:
    with Peer(made.port, "reader") as reader, Peer(made.port, "crate") as crate:
        reader.subscribe("#")
        assert crate.publish("d/1", TAKEN[name]) == 0x87
        assert crate.publish("m/1", TAKEN[name]) == 0  # other carriers leave payloads alone
        assert reader.take()[0].payload == TAKEN[name]
        with Peer(made.port, "old", v5=False) as old:
            old.send("d/1", TAKEN[name])
            assert old.disconnected.get(timeout=10)
        assert crate.publish("m/1", b"still here") == 0
        assert reader.take()[0].payload == b"still here"


def test_raw_token_for_readers_of_the_existing_format(raw: Broker) -> None:
    """They decode the map, take VERIFICATION_TOKEN out, encode it again, and verify with Ed25519."""
    token_key = raw.signed.statement.token_key
    assert token_key is not None
    assert token_key != raw.signed.statement.epoch_key
    sent = datagram(indefinite=True)
    with Peer(raw.port, "reader") as reader, Peer(raw.port, "crate") as crate:
        reader.subscribe("d/#")
        assert crate.publish("d/1", sent) == 0
        message = reader.take()[0]
    values = cbor2.loads(message.payload)
    token = values.pop("VERIFICATION_TOKEN")
    encoded = b"\xbf" + b"".join(cbor2.dumps(key) + cbor2.dumps(value) for key, value in values.items()) + b"\xff"
    Ed25519PublicKey.from_public_bytes(token_key).verify(token, encoded)
    assert abs(values["INGESTION_TIME"] / 1000 - time.time()) < 600
    found = decode_marked_datagram(message.payload)
    verify_ed25519(token_key, found.token, found.token_bytes)
    signed = decode_mark(message.carrier_bytes())  # the mark itself goes along as a property
    raw.check([signed])
    assert is_committed(signed, sent)
    assert found.ingestion_time == signed.mark.time_ns // 10**6


def test_without_raw_tokens_there_is_no_token_key(made: Broker) -> None:
    assert made.signed.statement.token_key is None


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_companion_for_subscribers_that_read_no_property(made: Broker, qos: int) -> None:
    with Peer(made.port, "old", v5=False) as old, Peer(made.port, "new") as new, Peer(made.port, "crate") as crate:
        old.subscribe("t/#")
        old.subscribe("sigillo/mark/t/#")
        new.subscribe("t/#")
        sent = datagram()
        crate.send("t/a/b", sent, qos)
        by_topic = {message.topic: message.payload for message in old.take(2)}
        in_property = new.take()[0].mark()
    assert by_topic["t/a/b"] == sent
    signed = decode_mark(by_topic["sigillo/mark/t/a/b"])
    made.check([signed])
    assert is_committed(signed, sent)
    assert signed.object_hash == in_property.object_hash


def test_retained_companion_comes_and_goes_with_its_message(made: Broker) -> None:
    with Peer(made.port, "crate") as crate:
        crate.publish("t/kept", b"21.5", retain=True)
        with Peer(made.port, "late", v5=False) as late:
            late.subscribe("t/kept")
            late.subscribe("sigillo/mark/t/kept")
            kept = {message.topic: message for message in late.take(2)}
            assert is_committed(decode_mark(kept["sigillo/mark/t/kept"].payload), b"21.5")
            assert all(message.retain for message in kept.values())
            crate.publish("t/kept", b"", retain=True)
            payloads = [message.payload for message in late.take(3)]
        assert payloads.count(b"") == 2
        deletion = next(decode_mark(payload) for payload in payloads if payload)
        assert is_committed(deletion, b"")
        with Peer(made.port, "later", v5=False) as later:
            later.subscribe("t/kept")
            later.subscribe("sigillo/mark/t/kept")
            crate.publish("m/end")
            later.subscribe("m/#")
            crate.publish("m/end", b"end")
            assert [message.payload for message in later.take()] == [b"end"]


@pytest.mark.parametrize("topic", ["m/r", "t/r", "d/r"])
@pytest.mark.parametrize("qos", [0, 1])
def test_a_repeat_names_the_first(made: Broker, topic: str, qos: int) -> None:
    sent = datagram()
    with Peer(made.port, "reader") as reader, Peer(made.port, "crate") as crate, Peer(made.port, "other") as other:
        topic += str(qos)  # the last one is retained
        reader.subscribe(topic)
        for peer, payload in ((crate, sent), (crate, sent), (crate, datagram()), (other, sent), (crate, sent)):
            peer.publish(topic, payload, qos)
            peer.publish("barrier")  # of QoS 0 nobody hears when it has arrived
        marks = [marked(message).mark for message in reader.take(5)]
        crate.publish(topic, sent, qos, retain=True)  # another message: it is to be kept
        marks.append(marked(reader.take()[0]).mark)
    first = marks[0].sequence
    assert [mark.repeat_of for mark in marks] == [None, first, None, None, first, None]
    assert len({mark.sequence for mark in marks}) == 6


def marked(message: Received) -> SignedMark:
    """The mark of a message, wherever it is."""
    if message.carriers:
        return decode_mark(message.carrier_bytes())
    return decode_mark(decode_marked_datagram(message.payload).token)


@pytest.mark.parametrize("tokens", ["marks", "raw tokens"])
def test_a_qos_2_duplicate_of_a_changed_payload_is_delivered_once(made: Broker, raw: Broker, tokens: str) -> None:
    """The broker knows a duplicate by its bytes: the second gets the first ones, and a mark of its own in the spool."""
    used = made if tokens == "marks" else raw
    before = len(used.spooled_marks())
    sent = datagram()
    packet = publish_packet("d/2", sent, qos=2)
    with Peer(used.port, "reader") as reader:
        reader.subscribe("d/2")
        wire = Wire(used.port, "crate")
        for _ in range(2):  # a third time is a protocol error to Mosquitto 2.0, whatever the topic
            wire.send(packet)
            assert wire.read()[0] == 0x50  # PUBREC
        wire.send(b"\x62\x02\x00\x01")  # PUBREL
        assert wire.read()[0] == 0x70
        wire.send(publish_packet("d/2", datagram(), qos=2))
        wire.read()
        wire.send(b"\x62\x02\x00\x01")
        wire.read()
        wire.close()
        first, next_one = reader.take(2)
    new = [signed.mark for signed in used.spooled_marks()[before:]]
    assert marked(first).mark.sequence == new[0].sequence
    assert marked(next_one).mark.sequence == new[2].sequence
    assert [mark.repeat_of for mark in new] == [None, new[0].sequence, None]
    assert "Reused message ID" not in used.log


def test_stock_clients_read_each_carrier(made: Broker) -> None:
    """mosquitto_sub, 3.1.1 and 5: properties where there are any, companions and datagrams in both."""
    sent = datagram()
    for version, topic, wanted in (
        ("mqttv5", "m/s", b"time-mark:"),
        ("mqttv5", "t/s", b"time-mark:"),
        ("mqttv311", "sigillo/mark/t/s", None),
        ("mqttv311", "d/s", None),
    ):
        command = ["mosquitto_sub", "-h", "127.0.0.1", "-p", str(made.port), "-V", version, "-t", topic, "-C", "1"]
        command += ["-W", "10", "-F", "%P %x" if wanted else "%x"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as reader, Peer(made.port, "crate") as crate:
            output = b""
            for _ in range(100):  # until the subscription stands
                crate.publish(topic.removeprefix("sigillo/mark/"), sent)
                if reader.poll() is not None:
                    break
                time.sleep(0.05)
            output = reader.stdout.read()
        assert reader.returncode == 0
        if wanted:
            assert output.startswith(wanted)
            continue
        payload = bytes.fromhex(output.decode())
        signed = decode_mark(payload if topic.startswith("sigillo/") else decode_marked_datagram(payload).token)
        made.check([signed])
        assert is_committed(signed, sent)


def test_counted(plugin: None) -> None:
    with broker(fields={"filters": FILTERS}) as made:
        made.start()
        with Peer(made.port, "crate") as crate:
            sent = datagram()
            for payload in (sent, sent, b"plain", TAKEN["time"]):
                crate.publish("d/1", payload)
        made.counters(last_sequence=3, repeats=1, plain=1, refused_datagrams=1, stripped_properties=0)
        assert "has the broker's keys" in made.log
