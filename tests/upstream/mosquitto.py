#!/usr/bin/python3
"""What upstream's tests start: Mosquitto with one more plugin, whose launcher listens beside this file.

The connection to the launcher is the broker's standard input, so that nothing is left to stand between test and broker:
this process becomes the broker. The first packet is what the configuration says of an access list.
"""

import os
import socket
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
MOSQUITTO = "/usr/sbin/mosquitto"


def access_list(text: str) -> str:
    """The line that names it. One of a single listener counts for nothing: the plugin may be another listener's."""
    lines = text.splitlines()
    if "per_listener_settings true" in lines:
        return ""
    return "".join(line for line in lines if line.startswith("acl_file"))


def main() -> None:
    """The same arguments, but for the configuration: a copy of it, with the plugin last."""
    arguments = sys.argv[1:]
    if "-c" not in arguments:
        arguments += ["-c", "/dev/null"]
    at = arguments.index("-c") + 1
    text = Path(arguments[at]).read_text()
    copy = HERE / f"{os.getpid()}.conf"
    copy.write_text(f"{text}\nplugin {HERE}/sigillo.so\n")
    arguments[at] = str(copy)
    launcher = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    launcher.connect(str(HERE / "launcher"))
    launcher.send(access_list(text).encode())
    os.dup2(launcher.fileno(), 0)
    os.execv(MOSQUITTO, [MOSQUITTO, *arguments])


main()
