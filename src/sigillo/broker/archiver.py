"""The archive's process: the subscriber of `sigillo.archive`, reporting to the supervisor."""

from __future__ import annotations

import signal
import time

from sigillo.archive.store import Store
from sigillo.archive.subscriber import Access, Counts, Subscriber
from sigillo.broker.authority import reachable
from sigillo.broker.configuration import ARCHIVE_USER
from sigillo.broker.event import Event, EventName, Report
from sigillo.broker.folder import OperatorFolder
from sigillo.broker.settings import Settings

_REPORT_S = 1.0


def archive(folder: OperatorFolder, settings: Settings, report: Report) -> None:
    """Keep marked messages until SIGTERM. Reports `archive-linked`, `archive-unlinked`, `archived`.

    Raises ArchiveError.
    """
    stopping = False

    def on_signal(_number: int, _frame: object) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, on_signal)
    host, port = settings.address
    access = Access(
        host=str(reachable(host)),
        port=port,
        client_id=ARCHIVE_USER,
        authority=folder.authority_certificate,
        certificate=folder.archive / "tls" / "cert.pem",
        key=folder.archive / "tls" / "key.pem",
        filters=tuple(marked.topic_filter for marked in settings.filters),
    )

    def on_link(linked: bool) -> None:
        report(Event(EventName.ARCHIVE_LINKED if linked else EventName.ARCHIVE_UNLINKED))

    with Store.open(folder.messages) as store:
        subscriber = Subscriber(access, store, on_link)
        reported, due = Counts(), 0.0

        def stop() -> bool:
            nonlocal reported, due
            if subscriber.counts != reported and time.monotonic() >= due:
                reported, due = _copy(subscriber.counts), time.monotonic() + _REPORT_S
                report(_archived(reported))
            return stopping

        subscriber.run(stop)
        if subscriber.counts != reported:
            report(_archived(subscriber.counts))


def _copy(counts: Counts) -> Counts:
    return Counts(counts.stored, counts.unmarked, counts.aside)


def _archived(counts: Counts) -> Event:
    return Event(EventName.ARCHIVED, {"stored": counts.stored, "unmarked": counts.unmarked, "aside": counts.aside})
