"""What a forger with a text editor can do to an evidence file, one example of each kind.

No Sigillo code is used: a forger has none of the keys and needs no more than JSON and base64.
"""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from built import altered

Line = dict[str, Any]


def decode(text: str) -> bytearray:
    return bytearray(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def encode(data: bytes | bytearray) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def messages(lines: list[Line]) -> list[int]:
    """Positions of the message lines."""
    return [at for at, line in enumerate(lines) if line["type"] == "message"]


def of_one_device(lines: list[Line]) -> list[int]:
    """Positions of the messages on the topic of the first message."""
    first = lines[messages(lines)[0]]
    return [at for at in messages(lines) if lines[at]["topic"] == first["topic"]]


def payload_altered(lines: list[Line]) -> None:
    line = lines[messages(lines)[0]]
    payload = decode(line["payload"])
    payload[len(payload) // 2] ^= 1
    line["payload"] = encode(payload)


def mark_altered(lines: list[Line]) -> None:
    line = lines[messages(lines)[0]]
    mark = decode(line["mark"])
    mark[-1] ^= 1  # of the signature, which comes last: elsewhere the mark may no longer be readable at all
    line["mark"] = encode(mark)


def marks_swapped(lines: list[Line]) -> None:
    first, second = of_one_device(lines)[:2]
    lines[first]["mark"], lines[second]["mark"] = lines[second]["mark"], lines[first]["mark"]


def mark_moved(lines: list[Line]) -> None:
    first, second = of_one_device(lines)[:2]
    lines[second]["payload"] = lines[first]["payload"]


def topic_changed(lines: list[Line]) -> None:
    line = lines[messages(lines)[0]]
    line["topic"] = line["topic"].replace("crate-", "crate-9")


def message_removed(lines: list[Line]) -> None:
    del lines[of_one_device(lines)[1]]
    lines[-1]["messages"] -= 1


def messages_reordered(lines: list[Line]) -> None:
    first, second = of_one_device(lines)[:2]
    lines[first], lines[second] = lines[second], lines[first]


def message_repeated(lines: list[Line]) -> None:
    at = messages(lines)[0]
    lines.insert(at, copy.deepcopy(lines[at]))
    lines[-1]["messages"] += 1


def statement_as_mark(lines: list[Line]) -> None:
    statement = next(line["statement"] for line in lines if line["type"] == "epoch")
    lines[messages(lines)[0]]["mark"] = statement


def statement_altered(lines: list[Line]) -> None:
    line = next(line for line in lines if line["type"] == "epoch")
    statement = decode(line["statement"])
    at = statement.index(b"Example Broker")
    statement[at : at + 7] = b"Honest!"
    line["statement"] = encode(statement)


def token_altered(lines: list[Line]) -> None:
    line = [line for line in lines if line["type"] == "token"][-1]
    token = decode(line["token"])
    token[-1] ^= 1  # of the authority's signature
    line["token"] = encode(token)


def token_moved(lines: list[Line]) -> None:
    first, *_, last = (line for line in lines if line["type"] == "token")
    last["token"] = first["token"]


def quote_altered(lines: list[Line]) -> None:
    line = next(line for line in lines if line["type"] == "attestation")
    quote = decode(line["evidence"])
    quote[-1] ^= 1  # of the last PCR value
    line["evidence"] = encode(quote)


def launch_left_out(lines: list[Line]) -> None:
    line = next(line for line in lines if line["type"] == "launch")
    lines.remove(line)


def configuration_opened(lines: list[Line]) -> None:
    """One line of it: who connects need not say who it is."""
    line = next(line for line in lines if line["type"] == "configuration" and "allow_anonymous" in line["text"])
    line["text"] = line["text"].replace("allow_anonymous false", "allow_anonymous true")


def beacon_hidden(lines: list[Line]) -> None:
    line = next(line for line in lines if line["type"] == "checkpoint")
    lines.remove(line)


def cosignature_taken_out(lines: list[Line]) -> None:
    checkpoint = lines[-1]["checkpoint"].splitlines(keepends=True)
    lines[-1]["checkpoint"] = "".join(checkpoint[:-1])


def file_cut(lines: list[Line]) -> None:
    del lines[-2:]


EVIDENCE_FORGERIES: dict[str, Callable[[list[Line]], None]] = {
    "one bit of a reading altered": payload_altered,
    "one bit of a time mark altered": mark_altered,
    "the marks of two messages swapped": marks_swapped,
    "a mark moved to another message": mark_moved,
    "the topic changed to another device's": topic_changed,
    "a message taken out": message_removed,
    "two messages reordered": messages_reordered,
    "a message repeated": message_repeated,
    "an epoch statement passed off as a mark": statement_as_mark,
    "the operator's name changed in the statement": statement_altered,
    "one bit of a time-stamp token altered": token_altered,
    "a time-stamp token moved to a later checkpoint": token_moved,
    "a checkpoint that devices have echoed taken out": beacon_hidden,
    "the witness's cosignature taken out": cosignature_taken_out,
    "one bit of what the TPM signed altered": quote_altered,
    "the log of what was launched left out": launch_left_out,
    "one line of the broker's configuration changed": configuration_opened,
    "the end of the file cut off": file_cut,
}


def other_device_key(policy: str) -> str:
    """The registry with the keys of the first and the last device exchanged."""
    lines = policy.splitlines()
    first, count = lines.index("[[device]]"), lines.count("[[device]]")
    keys = [at for at, line in enumerate(lines) if at > first and line.startswith("key = ")][:count]
    lines[keys[0]], lines[keys[-1]] = lines[keys[-1]], lines[keys[0]]
    return "\n".join(lines) + "\n"


def other_build(policy: str) -> str:
    """Reference values of another configuration."""
    line = next(line for line in policy.splitlines() if line.startswith("configuration = "))
    return policy.replace(line, f'configuration = ["{"0" * 64}"]')


def other_tpm(policy: str) -> str:
    """The reader pins another attestation key."""
    line = next(line for line in policy.splitlines() if line.startswith('key = ["000b'))
    return policy.replace(line, f'key = ["000b{"0" * 64}"]')


def no_software(policy: str) -> str:
    """The reader does not allow a TPM that is a program."""
    return policy.replace("allow_software = true", "allow_software = false")


def no_rebuild(lines: list[Line]) -> None:
    lines.remove(next(line for line in lines if line["type"] == "rebuild"))


def manifest_altered(lines: list[Line]) -> None:
    line = next(line for line in lines if line["type"] == "manifest")
    line["manifest"] = altered(line["manifest"])


BUILD_FORGERIES: dict[str, Callable[[list[Line]], None]] = {
    "the rebuilder's statement taken out": no_rebuild,
    "the builder's name changed in the manifest": manifest_altered,
}
"""Of evidence that has a build manifest."""


def forgeries(evidence: Path, policy: Path, scratch: Path) -> Iterator[tuple[str, Path, Path]]:
    """Yields (what was done, evidence file, policy file), each in its own file below *scratch*."""
    honest = [json.loads(line) for line in evidence.read_text().splitlines()]
    built = any(line["type"] == "manifest" for line in honest)
    for number, (case, forge) in enumerate({**EVIDENCE_FORGERIES, **(BUILD_FORGERIES if built else {})}.items()):
        lines = copy.deepcopy(honest)
        forge(lines)
        target = scratch / f"forged-{number}.jsonl"
        text = (json.dumps(line, sort_keys=True, separators=(",", ":"), ensure_ascii=False) for line in lines)
        target.write_text("".join(f"{line}\n" for line in text))
        yield case, target, policy
    for case, change in (
        ("a policy with the devices' keys exchanged", other_device_key),
        ("a broker that ran another configuration than agreed", other_build),
        ("a broker whose TPM is another's", other_tpm),
        ("a software TPM passed off as a chip", no_software),
    ):
        target = scratch / f"{change.__name__}.toml"
        target.write_text(change(policy.read_text()))
        yield case, evidence, target
