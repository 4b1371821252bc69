"""What a start states of the epoch before: what the log has of it, and where spool or archive know of more."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from sigillo import disk
from sigillo.broker.epoch_store import EpochStore, Past
from sigillo.broker.error import BrokerError
from sigillo.broker.folder import OperatorFolder
from sigillo.broker.logged import Logged, read_logged
from sigillo.core.epoch import EndReason, EpochEnd, encode_epoch_end
from sigillo.core.mark import decode_mark
from sigillo.core.statement import HowEnded
from sigillo.log.writer import Log, create_log

from ..adversary.broker import Broker, Epoch
from ..adversary.device import Device, ed25519_key
from .operator import SEGMENT, keep, segment


@pytest.fixture
def folder(tmp_path: Path) -> OperatorFolder:
    made = OperatorFolder.at(tmp_path)
    for path in (made.epochs, made.spool, made.log):
        path.mkdir()
    return made


@pytest.fixture
def broker() -> Broker:
    return Broker()


CRATE = Device("crate-1")


def log(folder: OperatorFolder, broker: Broker) -> Logged | None:
    """Have the log take all there is."""
    key, sign = broker.log_key, broker.log_private.sign
    if not (folder.log / "store").exists():
        create_log(folder.log, key, sign)
    with Log.open(folder.log, key, sign, spool=folder.spool, epochs=folder.epochs) as opened:
        while opened.round():
            pass
    return read_logged(folder.log, key.key_id32)


def past(folder: OperatorFolder, broker: Broker, archived: Iterable[bytes] = (), boot_id: str = "boot") -> Past:
    store = EpochStore(folder.epochs, folder.spool, boot_id)
    return store.past(broker.log_key, log(folder, broker), lambda _epoch_id: archived)


def end_of(epoch: Epoch, time_ns: int, **lies: object) -> bytes:
    fields = {"last_sequence": epoch.sequence, "time_ns": time_ns, "reason": EndReason.STOP, "last": epoch.last} | lies
    end = EpochEnd(clock=Broker().clock, **fields)
    return encode_epoch_end(end, epoch.epoch_id, epoch.key.sign)


def test_the_first_epoch_has_none_before(folder: OperatorFolder, broker: Broker) -> None:
    assert past(folder, broker) == Past(1, None, None, ())


def test_a_clean_end_is_taken_from_the_spool_and_kept(folder: OperatorFolder, broker: Broker) -> None:
    epoch = broker.start()
    marks = [broker.publish(CRATE) for _ in range(3)]
    end = end_of(epoch, broker.clock_ns + 5)
    keep(folder, broker, segment(broker, marks, end=end))
    found = past(folder, broker)
    assert found.next_number == 2
    assert found.previous is not None
    assert (found.previous.ended, found.previous.last_sequence) == (HowEnded.CLEAN, 3)
    assert found.previous.last_time_ns == broker.clock_ns + 5
    assert found.previous.epoch_id == epoch.epoch_id
    assert found.findings == ()
    assert (folder.epochs / "0000000001.end.cose").read_bytes() == end
    for path in (folder.spool / "0000000001").iterdir():
        path.unlink()
    assert past(folder, broker) == found, "the stored end is enough"


@pytest.mark.parametrize("count", [0, 1, 3])
def test_without_an_end_the_last_mark_counts(folder: OperatorFolder, broker: Broker, count: int) -> None:
    epoch = broker.start()
    marks = [broker.publish(CRATE) for _ in range(count)]
    keep(folder, broker, segment(broker, marks))
    previous = past(folder, broker).previous
    assert previous is not None
    assert (previous.ended, previous.last_sequence) == (HowEnded.UNCLEAN, count)
    assert previous.last_time_ns == (broker.clock_ns if count else epoch.statement.start_ns)


def test_marks_in_earlier_segments_are_found(folder: OperatorFolder, broker: Broker) -> None:
    broker.start()
    marks = [broker.publish(CRATE) for _ in range(2)]
    keep(folder, broker, segment(broker, marks), segment(broker, [], number=1), segment(broker, [], number=2))
    previous = past(folder, broker).previous
    assert previous is not None
    assert previous.last_sequence == 2


def test_a_torn_tail_is_named_and_what_is_before_it_stands(folder: OperatorFolder, broker: Broker) -> None:
    broker.start()
    data = segment(broker, [broker.publish(CRATE) for _ in range(3)])
    whole = len(data.rstrip(b"\0"))
    keep(folder, broker, data[: whole - 40] + b"\xff" * 40 + data[whole:])
    found = past(folder, broker)
    assert found.previous is not None
    assert (found.previous.ended, found.previous.last_sequence) == (HowEnded.UNCLEAN, 2)
    assert "CRC differs" in found.findings[0]
    assert "a torn tail" in found.findings[0]


def test_a_fault_with_records_behind_it_is_named_as_such(folder: OperatorFolder, broker: Broker) -> None:
    broker.start()
    data = bytearray(segment(broker, [broker.publish(CRATE) for _ in range(3)]))
    second = data.index(decode_mark(broker.lines[2].mark).sign1.signature)
    data[second] ^= 1
    keep(folder, broker, bytes(data))
    found = past(folder, broker)
    assert found.previous is not None
    assert found.previous.last_sequence == 1
    assert "a fault of disk or writer" in found.findings[0]


def test_marks_that_do_not_verify_are_not_believed(folder: OperatorFolder, broker: Broker) -> None:
    """Whoever can write the spool (the broker's user) must not move the time floor, or the count, of the next epoch."""
    broker.start()
    good = broker.publish(CRATE)
    forged = broker.publish(CRATE, signed_by=ed25519_key("forger"), time_ns=2**62)
    keep(folder, broker, segment(broker, [good, forged]))
    found = past(folder, broker)
    assert found.previous is not None
    assert found.previous.last_sequence == 1
    assert found.previous.last_time_ns == decode_mark(good.mark).mark.time_ns
    assert "not believed" in found.findings[0]


def test_an_end_that_does_not_verify_is_not_believed(folder: OperatorFolder, broker: Broker) -> None:
    epoch = broker.start()
    marks = [broker.publish(CRATE)]
    fields = EpochEnd(1, broker.clock_ns, broker.clock, EndReason.STOP, epoch.last)
    forged = encode_epoch_end(fields, epoch.epoch_id, ed25519_key("forger").sign)
    keep(folder, broker, segment(broker, marks, end=forged))
    found = past(folder, broker)
    assert found.previous is not None
    assert found.previous.ended is HowEnded.UNCLEAN
    assert not (folder.epochs / "0000000001.end.cose").exists()


def test_an_end_that_contradicts_the_spool_is_named(folder: OperatorFolder, broker: Broker) -> None:
    epoch = broker.start()
    marks = [broker.publish(CRATE) for _ in range(2)]
    end = end_of(epoch, broker.clock_ns, last_sequence=1)
    epoch.sequence = 2
    keep(folder, broker, segment(broker, marks, end=end))
    # the record of the end carries sequence 2, its content 1
    assert any("names sequence 1" in finding for finding in past(folder, broker).findings)


def test_a_spool_of_another_epoch_is_not_believed(folder: OperatorFolder, broker: Broker) -> None:
    broker.start()
    keep(folder, broker)
    other = Broker(seed="other")
    other.start()
    (folder.spool / "0000000001" / "000000.spool").write_bytes(segment(other, [other.publish(CRATE)]))
    found = past(folder, broker)
    assert found.previous is not None
    assert found.previous.last_sequence == 0
    assert "another epoch" in found.findings[0]


@pytest.mark.parametrize("data", [b"", b"nonsense" * 100])
def test_a_file_that_is_no_segment_is_named(folder: OperatorFolder, broker: Broker, data: bytes) -> None:
    broker.start()
    keep(folder, broker, segment(broker, [broker.publish(CRATE)]), data)
    found = past(folder, broker)
    assert found.previous is not None
    assert found.previous.last_sequence == 1
    assert "000001.spool" in found.findings[0]


def test_an_epoch_whose_broker_never_listened_counts(folder: OperatorFolder, broker: Broker) -> None:
    """The statement was stored, then everything died: its number is not used again."""
    broker.start()
    keep(folder, broker)
    found = past(folder, broker)
    assert found.next_number == 2
    assert found.previous is not None
    assert (found.previous.ended, found.previous.last_sequence) == (HowEnded.UNCLEAN, 0)


def test_after_another_boot_later_marks_may_be_lost(folder: OperatorFolder, broker: Broker) -> None:
    broker.start()
    keep(folder, broker, segment(broker, [broker.publish(CRATE)]), boot_id="before the power cut")
    previous = past(folder, broker).previous
    assert previous is not None
    assert previous.ended is HowEnded.LOGGED_UP_TO


def test_the_archive_helps_where_the_spool_lost_marks(folder: OperatorFolder, broker: Broker) -> None:
    broker.start()
    kept, lost = broker.publish(CRATE), broker.publish(CRATE)
    keep(folder, broker, segment(broker, [kept]))
    found = past(folder, broker, archived=[lost.mark, kept.mark])
    assert found.previous is not None
    assert (found.previous.ended, found.previous.last_sequence) == (HowEnded.LOGGED_UP_TO, 1), "what the log has"
    assert found.previous.last_time_ns == decode_mark(lost.mark).mark.time_ns, "time never runs backward"
    assert "the archive has marks up to 2" in found.findings[0]


def test_the_archive_is_not_trusted(folder: OperatorFolder, broker: Broker) -> None:
    broker.start()
    kept = broker.publish(CRATE)
    forged = broker.publish(CRATE, signed_by=ed25519_key("forger"))
    keep(folder, broker, segment(broker, [kept]))
    for mark in (forged.mark, b"nonsense"):
        previous = past(folder, broker, archived=[mark]).previous
        assert previous is not None
        assert (previous.ended, previous.last_sequence) == (HowEnded.UNCLEAN, 1)


def test_stored_files_that_are_not_ours_are_refused(folder: OperatorFolder, broker: Broker) -> None:
    epoch = broker.start()
    keep(folder, broker, segment(broker, []))
    store, logged = EpochStore(folder.epochs, folder.spool, "boot"), log(folder, broker)
    path = folder.epochs / "0000000001.cose"
    other = Broker(seed="other")
    for data, reason in (
        (b"nonsense", "epoch-statement"),
        (other.start().countersigned, "does not verify"),
        (Broker().start(countersigned_by=ed25519_key("thief")).countersigned, "does not verify"),
    ):
        path.write_bytes(data)
        with pytest.raises(BrokerError, match=reason) as caught:
            store.past(broker.log_key, logged, lambda _epoch_id: ())
        assert str(path) in str(caught.value)
    path.write_bytes(epoch.countersigned)
    (folder.epochs / "0000000001.end.cose").write_bytes(end_of(other.start(), 2**60))
    with pytest.raises(BrokerError, match="another epoch"):
        past(folder, broker)


def test_a_statement_under_another_number_is_refused(folder: OperatorFolder, broker: Broker) -> None:
    broker.start()
    keep(folder, broker)
    (folder.epochs / "0000000001.cose").rename(folder.epochs / "0000000007.cose")
    with pytest.raises(BrokerError, match="statement of epoch 1"):
        past(folder, broker)


def test_a_number_is_stored_once(folder: OperatorFolder, broker: Broker) -> None:
    store = EpochStore(folder.epochs, folder.spool, "boot")
    store.store(1, broker.start().countersigned)
    with pytest.raises(FileExistsError):
        store.store(1, b"other")
    assert store.numbers() == [1]
    assert len(segment(broker, [])) == SEGMENT


def test_a_forged_mark_does_not_hide_the_newest(folder: OperatorFolder, broker: Broker) -> None:
    """A last will passes the plugin by: its mark can say any sequence."""
    broker.start()
    kept, lost = broker.publish(CRATE), broker.publish(CRATE)
    forged = broker.publish(CRATE, signed_by=ed25519_key("forger"), sequence=2**40)
    keep(folder, broker, segment(broker, [kept]))
    previous = past(folder, broker, archived=[forged.mark, b"nonsense", lost.mark, kept.mark]).previous
    assert previous is not None
    assert (previous.ended, previous.last_sequence) == (HowEnded.LOGGED_UP_TO, 1)
    assert previous.last_time_ns == decode_mark(lost.mark).mark.time_ns


def test_what_is_logged_stands_where_the_spool_is_gone(folder: OperatorFolder, broker: Broker) -> None:
    """A power cut under `buffered`: the log flushed its store, nobody flushed the spool."""
    broker.start()
    marks = [broker.publish(CRATE) for _ in range(3)]
    spool = keep(folder, broker, segment(broker, marks))
    log(folder, broker)
    (spool / "000000.spool").write_bytes(segment(broker, marks[:1]))
    previous = past(folder, broker).previous
    assert previous is not None
    assert (previous.ended, previous.last_sequence) == (HowEnded.UNCLEAN, 3)
    assert previous.last_time_ns == decode_mark(marks[2].mark).mark.time_ns


def test_what_is_behind_a_hole_is_not_logged_and_said(folder: OperatorFolder, broker: Broker) -> None:
    epoch = broker.start()
    marks = [broker.publish(CRATE) for _ in range(3)]
    end = end_of(epoch, broker.clock_ns + 5)
    parts = [segment(broker, [mark], number=number) for number, mark in enumerate(marks[:2])]
    spool = keep(folder, broker, *parts, segment(broker, marks[2:], number=2, end=end))
    (spool / "000001.spool").unlink()
    found = past(folder, broker)
    assert found.previous is not None
    assert (found.previous.ended, found.previous.last_sequence) == (HowEnded.LOGGED_UP_TO, 1)
    assert found.previous.last_time_ns >= decode_mark(marks[2].mark).mark.time_ns


def test_a_statement_that_the_log_does_not_have_is_refused(folder: OperatorFolder, broker: Broker) -> None:
    broker.start()
    keep(folder, broker)
    for logged in (None, Logged(2, 0, None, None)):
        with pytest.raises(BrokerError, match=r"is not in the log|0000000002\.cose: is gone"):
            EpochStore(folder.epochs, folder.spool, "boot").past(broker.log_key, logged, lambda _epoch_id: ())


def test_a_stored_end_that_is_not_the_logged_one_is_refused(folder: OperatorFolder, broker: Broker) -> None:
    epoch = broker.start()
    keep(folder, broker, segment(broker, [broker.publish(CRATE)], end=end_of(epoch, broker.clock_ns + 5)))
    log(folder, broker)
    (folder.epochs / "0000000001.end.cose").write_bytes(end_of(epoch, broker.clock_ns + 6))
    with pytest.raises(BrokerError, match="is not the end that the log has"):
        past(folder, broker)


def test_a_broker_that_lives_is_waited_for(folder: OperatorFolder, broker: Broker) -> None:
    """Its plugin holds the lock of its spool folder."""
    broker.start()
    spool = keep(folder, broker)
    store = EpochStore(folder.epochs, folder.spool, "boot")
    store.wait_for_broker(0)
    descriptor = disk.open_folder(spool)
    try:
        disk.lock(descriptor, 0)
        with pytest.raises(BrokerError, match="still runs"):
            store.wait_for_broker(0)
    finally:
        os.close(descriptor)
    store.wait_for_broker(0)


@pytest.mark.parametrize("left", ["epochs/0000000002.boot", "epochs/0000000002.end.cose", "spool/0000000002"])
@pytest.mark.parametrize("newest", [0, 1])
def test_a_number_whose_statement_is_gone_is_not_used_again(
    folder: OperatorFolder, broker: Broker, left: str, newest: int
) -> None:
    if newest:
        broker.start()
        keep(folder, broker)
    (folder.path / left).mkdir()
    with pytest.raises(BrokerError, match=r"0000000002\.cose: is gone, .* from your backup"):
        past(folder, broker)


def test_a_refused_number_leaves_nothing_behind(folder: OperatorFolder) -> None:
    """A crash before the statement has its name leaves no file that would stand for an epoch."""
    store = EpochStore(folder.epochs, folder.spool, "boot")
    (folder.epochs / "0000000001.cose").symlink_to("elsewhere")
    with pytest.raises(FileExistsError):
        store.store(1, b"statement")
    assert not (folder.epochs / "0000000001.boot").exists()
