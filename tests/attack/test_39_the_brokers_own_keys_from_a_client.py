"""Attack 39: a client sends what only the broker writes.

The plugin strips or refuses it (tests/plugin/test_property.py, test_carrier.py); what came to a reader all the same,
past the plugin or by a broker that lies, does not count.
"""

from __future__ import annotations

import cbor2
import pytest

from sigillo.archive.store import Aside
from sigillo.archive.subscriber import read_marked
from sigillo.core.bytes import base64url_encode
from sigillo.core.datagram import encode_device_map
from sigillo.core.mark import decode_mark
from sigillo.core.marked_datagram import encode_marked_datagram, has_broker_keys, is_signed_datagram
from sigillo.core.statement import Carrier, MarkedFilter

from ..adversary.story import Story, failing_steps, verdict_on
from ..vector.accept import pairs_of, signed_map


@pytest.mark.parametrize("key", ["INGESTION_TIME", "VERIFICATION_TOKEN"])
@pytest.mark.parametrize("carrier", [Carrier.PROPERTY, Carrier.DATAGRAM])
def test_a_device_that_signs_the_brokers_keys(key: str, carrier: Carrier) -> None:
    """Its signature is good; the payload is no device message all the same, on any carrier."""
    story = Story()
    story.broker.start(filters=(MarkedFilter("braid/#", carrier=carrier),))
    payload = signed_map(pairs_of({"TS": 1, "VER": 1, key: 1_000}), story.first.sign)
    assert has_broker_keys(payload)
    assert not is_signed_datagram(payload)
    story.broker.publish(story.first, payload=payload)
    assert failing_steps(verdict_on(story.broker.lines, story.policy)) == [9]


def test_a_whole_marked_datagram_sent_by_a_client() -> None:
    """Replayed to a broker that does not refuse it: what the device signed lies in a payload that it did not send."""
    story = Story()
    story.broker.start(filters=(MarkedFilter("braid/#", carrier=Carrier.DATAGRAM),))
    line = story.broker.publish(story.first)
    marked = encode_marked_datagram(line.payload, decode_mark(line.mark).mark.time_ns, line.mark)
    assert has_broker_keys(marked)
    story.broker.publish(story.first, payload=marked)
    assert failing_steps(verdict_on(story.broker.lines, story.policy)) == [9]


def test_two_marks_on_one_message_are_set_aside() -> None:
    story = Story()
    line = story.broker.publish(story.first)
    mark = base64url_encode(line.mark)
    assert isinstance(read_marked(line.topic.encode(), line.payload, [mark, mark]), Aside)


def test_a_token_that_is_no_mark_is_set_aside() -> None:
    device_map = cbor2.loads(encode_device_map(ts=1, ver=1, body={}))
    forged = cbor2.dumps(device_map | {"SIGN": bytes(64), "INGESTION_TIME": 1, "VERIFICATION_TOKEN": b"trust me"})
    assert isinstance(read_marked(b"t", forged, []), Aside)
