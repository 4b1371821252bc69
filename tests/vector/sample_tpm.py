"""Sample objects of a TPM that vectors and tests share: the first epoch's launch, and quotes about it."""

from pathlib import Path

from sigillo.core.event_log import LoggedEvent
from sigillo.core.launch import Closure, EpochEvent, LaunchEvent, Member, Role, encode_launch_event
from sigillo.core.mark import Checkpoint
from sigillo.core.process_state import ProcessState
from sigillo.core.quote import Subject
from tests.vector.key import filler
from tests.vector.sample import EPOCH_ID

RECORDED = Path(__file__).with_name("recorded") / "tpm.txt"
"""What a real software TPM said (`record_tpm.py`): its answers are never the same twice."""
BOOT_RECORDED = RECORDED.with_name("boot.txt")
"""What firmware and Linux of a real (virtual) machine measured."""
MOSQUITTO = "/usr/sbin/mosquitto"
CONFIGURATION = "conf/mosquitto.conf"
CLOSURE = Closure.of(
    [
        Member(Role.EXECUTABLE, MOSQUITTO, filler("executable")),
        Member(Role.LOADER, "/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", filler("loader")),
        Member(Role.LIBRARY, "/usr/lib/x86_64-linux-gnu/libc.so.6", filler("libc")),
        Member(Role.LIBRARY, "/usr/lib/x86_64-linux-gnu/libsodium.so.23", filler("libsodium")),
        Member(Role.PLUGIN, "/srv/broker/plugin/sigillo.so", filler("plugin")),
        Member(Role.CONFIGURATION, CONFIGURATION, filler("mosquitto.conf")),
        Member(Role.CONFIGURATION, "conf/acl", filler("acl")),
        Member(Role.CODE, "/usr/bin/python3.11", filler("python")),
    ]
)
FAILED_LAUNCH = LaunchEvent(1, filler("closure before"), (MOSQUITTO, "-c", "/srv/broker/conf/mosquitto.conf"))
LAUNCH = LaunchEvent(1, CLOSURE.object_hash, (MOSQUITTO, "-c", "/srv/broker/conf/mosquitto.conf"))
PROCESS = ProcessState(
    uid=104,
    gid=110,
    groups=(),
    capabilities=0,
    no_new_privs=True,
    seccomp=0,
    tracer=0,
    dumpable=False,
    core_limit=(0, 0),
    ptrace_scope=None,
)
"""What the process of a good launch is like."""
LAUNCHES: tuple[LoggedEvent, ...] = tuple(
    encode_launch_event(event) for event in (FAILED_LAUNCH, LAUNCH, EpochEvent(EPOCH_ID, PROCESS))
)
NONCE = filler("nonce")
OPENING = Subject(EPOCH_ID, Checkpoint())
CLOSING = Subject(EPOCH_ID, Checkpoint(4711, filler("root")))
CHALLENGED = Subject(EPOCH_ID, Checkpoint(4712, filler("newer root")), NONCE)
