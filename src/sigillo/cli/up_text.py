"""What `sigillo up` says to people: one line for each event that matters, counts at most every few seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import click

from sigillo.broker.event import Event, EventName, Value
from sigillo.broker.folder import OperatorFolder
from sigillo.report.escape import escape
from sigillo.report.moment import utc

_Fields = Mapping[str, Value]
_COUNTS_S = 5.0
_WORDS = {
    "refused_clock": "refused for the clock",
    "refused_spool": "refused because the spool is full",
    "refused_principals": "refused because the table of principals is full",
    "refused_topics": "refused on sigillo/ topics",
    "refused_names": "refused for names that are no text or too long",
    "refused_datagrams": "refused for keys that are the broker's",
    "refused_rate": "refused for the rate",
    "refused_size": "refused for the size",
    "stripped": "forged time-mark properties stripped",
    "repeats": "repeats of messages marked before",
    "plain": "payloads that are no signed datagram, marked by property",
    "dropped_wills": "last wills dropped",
}
UNSAID = frozenset({EventName.BROKER_STARTED, EventName.ARCHIVE_UNLINKED, EventName.STOPPING})
"""What says nothing to people: others of the events beside them do."""


class Narrator:
    """Prints events of one `sigillo up`."""

    def __init__(self, folder: OperatorFolder, write: Callable[[str], None] = click.echo) -> None:
        self._folder, self._write = folder, write
        self._counts: Mapping[str, Value] = {}
        self._said: Mapping[str, Value] = {}
        self._due = 0.0
        self._linked_before = False
        self._aside: Value = 0
        self._entries: Value = 0
        self._cosigned: Value = 0
        self._speakers: dict[EventName, Callable[[_Fields], None]] = {
            EventName.WRITTEN: self._on_written,
            EventName.OTHER_PLUGIN: self._on_other_plugin,
            EventName.CERTIFICATE_ENDS: self._on_certificate_ends,
            EventName.ARCHIVE_LINKED: self._on_archive_linked,
            EventName.ARCHIVED: self._on_archived,
            EventName.BROKER_LOG: self._on_broker_log,
            EventName.ODD_PACKET: self._on_odd_packet,
            EventName.RELOAD_REFUSED: self._on_reload_refused,
            EventName.RESTARTING: self._on_restarting,
            EventName.KILLED: self._on_killed,
            EventName.STOPPED: self._on_stopped,
            EventName.COUNTERS: self._on_counters,
            EventName.ACCOUNTS: self._on_accounts,
            EventName.LOG_OPENED: self._on_log_opened,
            EventName.LOG_BEHIND: self._on_log_behind,
            EventName.LOGGED: self._on_logged,
            EventName.LOG_FINDING: self._on_log_finding,
            EventName.ANCHORED: self._on_anchored,
            EventName.ANCHOR_DELAYED: self._on_anchor_delayed,
            EventName.TSA_DOWN: self._on_tsa_down,
            EventName.TSA_BACK: self._on_tsa_back,
            EventName.CRL_MISSING: self._on_crl_missing,
            EventName.QUOTED: self._on_quoted,
            EventName.TPM_DOWN: self._on_tpm_down,
            EventName.TPM_BACK: self._on_tpm_back,
            EventName.UNANSWERED: self._on_unanswered,
            EventName.BOOT_UNRECORDED: self._on_boot_unrecorded,
            EventName.SERVING: self._on_serving,
            EventName.WITNESS: self._on_witness,
            EventName.COSIGNED: self._on_cosigned,
            EventName.READY: self._on_ready,
            EventName.STARTED: self._on_started,
            EventName.ENDED: self._on_ended,
            EventName.CHILD_DIED: self._on_child_died,
        }

    def __call__(self, event: Event) -> None:
        """Print the event, or keep it for the next line of counts. What is `UNSAID` is passed over."""
        if event.name not in UNSAID:
            self._speakers[event.name](event.fields)

    @property
    def known(self) -> frozenset[EventName]:
        """Every event that it has an answer to."""
        return UNSAID | self._speakers.keys()

    def _on_written(self, fields: _Fields) -> None:
        self._say(f"written in {self._folder.path}: {', '.join(_texts(fields['files']))}")

    def _on_other_plugin(self, fields: _Fields) -> None:
        self._say(
            f"{fields['file']} (sha256 {str(fields['sha256'])[:16]}…) is not the plugin in {self._folder.plugin}, "
            "which runs on; --update-plugin replaces it"
        )

    def _on_certificate_ends(self, fields: _Fields) -> None:
        self._say(f"warning: the server's certificate ends in {fields['days']} days")

    def _on_archive_linked(self, _fields: _Fields) -> None:
        if not self._linked_before:
            self._say("listening; the archive is connected")
        self._linked_before = True

    def _on_archived(self, fields: _Fields) -> None:
        if fields["aside"] != self._aside:
            self._aside = fields["aside"]
            self._say(f"warning: {self._aside} messages with a mark that cannot be read, kept aside in the archive")

    def _on_broker_log(self, fields: _Fields) -> None:
        self._say(f"broker: {fields['line']}")

    def _on_odd_packet(self, fields: _Fields) -> None:
        self._say(f"warning: {fields['reason']}")

    def _on_reload_refused(self, fields: _Fields) -> None:
        self._say(f"warning: no reload, this epoch goes on: {fields['reason']}")

    def _on_restarting(self, fields: _Fields) -> None:
        self._linked_before = False
        self._say(f"the broker ended its run ({fields['reason']}); a new epoch starts")

    def _on_killed(self, fields: _Fields) -> None:
        self._say(f"error: the {fields['child']} did not stop within {fields['patience_s']} s and was killed")

    def _on_log_opened(self, fields: _Fields) -> None:
        self._entries = fields["size"]
        self._say(f"the log has {self._entries} entries; checkpoint in {self._folder.log / 'public'}")

    def _on_serving(self, fields: _Fields) -> None:
        self._say(f"the log is served at {fields['url']}")

    def _on_anchored(self, fields: _Fields) -> None:
        time_ns = fields["time_ns"]
        assert isinstance(time_ns, int)
        self._say(f"{fields['tsa']} says that the first {fields['size']} entries existed at {utc(time_ns)}")

    def _on_anchor_delayed(self, fields: _Fields) -> None:
        self._say(f"warning: a time-stamp token waits, and is tried again: {fields['reason']}")

    def _on_tsa_down(self, fields: _Fields) -> None:
        self._say(
            f"warning: no time stamps from {fields['tsa']} ({fields['url']}): it {fields['reason']}. Marking goes on, "
            "and it is asked again"
        )

    def _on_tsa_back(self, fields: _Fields) -> None:
        self._say(f"{fields['tsa']} gives time stamps again")

    def _on_crl_missing(self, fields: _Fields) -> None:
        self._say(
            f"warning: {fields['crl']}, a revocation list of {fields['tsa']}: it {fields['reason']}. Tokens are kept "
            "without it meanwhile"
        )

    def _on_quoted(self, fields: _Fields) -> None:
        self._say(f"the TPM has quoted epoch {fields['epoch']} with the log's first {fields['size']} entries")

    def _on_tpm_down(self, fields: _Fields) -> None:
        self._say(
            f"warning: nothing is attested from here on ({fields['tpm']}): {fields['reason']}. Marking goes on, and "
            "the TPM is asked again"
        )

    def _on_tpm_back(self, _fields: _Fields) -> None:
        self._say("the TPM quotes again")

    def _on_unanswered(self, fields: _Fields) -> None:
        self._say(f"warning: who asks for a fresh quote gets none: {fields['reason']}")

    def _on_boot_unrecorded(self, fields: _Fields) -> None:
        self._say(
            f"{fields['path']}: {fields['reason']}. What else this machine loads is not kept: nothing above the level "
            "launched can be shown of it"
        )

    def _on_witness(self, fields: _Fields) -> None:
        if fields["state"] == "cosigns":
            self._say(f"witness {fields['witness']} cosigns")
        else:
            self._say(f"warning: witness {fields['witness']}: {fields['reason']}")

    def _on_cosigned(self, fields: _Fields) -> None:
        self._cosigned = fields["size"]

    def _on_log_behind(self, _fields: _Fields) -> None:
        self._say("waiting for the log to take what the epoch before left")

    def _on_logged(self, fields: _Fields) -> None:
        self._entries = fields["size"]

    def _on_log_finding(self, fields: _Fields) -> None:
        self._say(f"warning: log: {fields['finding']}")

    def _on_stopped(self, fields: _Fields) -> None:
        if self._entries:
            cosigned = f", cosigned up to {self._cosigned}" if self._cosigned else ""
            self._say(f"the log has {self._entries} entries{cosigned}")
        self._say("stopped" if fields["well"] else "stopped after an error")

    def _on_counters(self, fields: _Fields) -> None:
        self._counts = fields
        self._say_counts()

    def _say(self, text: str) -> None:
        self._write(escape(text))

    def _on_accounts(self, fields: _Fields) -> None:
        if fields["separated"]:
            self._say(f"broker runs as {fields['broker']}, the log key belongs to {fields['rest']}")
        else:
            self._say(
                f"NOT SEPARATED: {fields['broker']} runs the broker and holds the log key, because {fields['reason']}"
            )

    def _on_ready(self, fields: _Fields) -> None:
        self._say(f"log key {fields['log_key']}")
        endings = {"unclean": "without a clean end", "logged-up-to": "without a clean end, later marks may be lost"}
        if fields["previous"] in endings:
            last = fields["previous_last_sequence"]
            self._say(f"the previous epoch ended {endings[str(fields['previous'])]}; its last known mark is {last}")
        self._findings(fields)

    def _on_started(self, fields: _Fields) -> None:
        self._say(f"epoch {fields['epoch']} started, id {fields['epoch_id']}")
        if fields["manifest"]:
            self._say(f"  what runs is what the build manifest says, sha256 {fields['manifest']}")
        for part in ("executable", "plugin", "configuration"):
            self._say(f"  {part:<14} sha256 {fields[part]}")
        if fields["attester"]:
            self._say(f"  measured into the TPM whose attestation key is {fields['attester']}")
        if fields["published"]:
            self._say(f"for strangers: {self._folder.published} (changed)")
        if not fields["authenticated"]:
            self._say("warning: the configuration authenticates nobody on some listener: no message will verify")

    def _on_ended(self, fields: _Fields) -> None:
        if "marked" in fields:
            self._counts = {name: fields[name] for name in ("marked", *_WORDS)}
            self._say_counts(now=True)
        how = f"ended ({fields['reason']})" if fields["clean"] else "ended WITHOUT a signed end"
        self._say(f"epoch {fields['epoch']} {how}, last mark {fields['last_sequence']}")
        self._findings(fields)

    def _on_child_died(self, fields: _Fields) -> None:
        self._say(f"error: the {fields['child']} ended by itself: {fields['how']}")
        for line in _texts(fields["lines"]):
            self._say(f"  {line}")

    def _findings(self, fields: _Fields) -> None:
        for finding in _texts(fields["findings"]):
            self._say(f"warning: {finding}")

    def _say_counts(self, *, now: bool = False) -> None:
        if self._counts == self._said or (not now and time.monotonic() < self._due):
            return
        self._due = time.monotonic() + _COUNTS_S
        self._said = dict(self._counts)
        others = [f"{self._counts[name]} {why}" for name, why in _WORDS.items() if self._counts[name]]
        marked = self._counts["marked"]
        self._say(f"{marked} message{'' if marked == 1 else 's'} marked{'; ' if others else ''}{', '.join(others)}")


def _texts(value: Value) -> list[str]:
    assert isinstance(value, list)
    return value
