"""An operator with all its keys against honest third parties, all real: whatever it signs, verify or accuse says so.

Each test is one lie (docs/threat-model.md). The same day told as it was is VERIFIED under the same policy.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from sigillo.cli.main import main
from sigillo.core.evidence_line import Line, MessageLine
from sigillo.core.policy import encode_policy

from ..adversary.hostile import HOUR, Hostile, RealTsa, RealWitness, publish, tsa
from ..witness.rig import WitnessProcess

SPLIT = "one history; a split view would not be seen (0 of 1 witnesses)"
FAILED = re.compile(r"^ ([ 12]\d) .{18}failed (.*\n(?: {22}.*\n)*)", re.MULTILINE)


@pytest.fixture(scope="module")
def tsas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[RealTsa]]:
    folder = tmp_path_factory.mktemp("tsas")
    with tsa("A", folder / "a") as first, tsa("B", folder / "b") as second:
        yield [first, second]


@pytest.fixture
def operator(tmp_path: Path, tsas: list[RealTsa]) -> Iterator[Hostile]:
    made = Hostile(tsas=tsas)  # type: ignore[arg-type]
    process = WitnessProcess(tmp_path / "witness", ("--log", made.broker.log_key.vkey)).start()
    made.witness = RealWitness(process)
    (tmp_path / "policy.toml").write_text(encode_policy(made.demands))
    yield made
    process.kill()


def witness(operator: Hostile) -> RealWitness:
    assert operator.witness
    return operator.witness


class Reader:
    """Has one policy, and the commands."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys, self._files = folder, capsys, 0

    def verify(self, data: bytes, fails: dict[int, str]) -> None:
        """These steps fail and no others, each with these words; VERIFIED where there are none."""
        code, said = self._run("verify", str(self._file(data)))
        assert (code, said.split("  ")[0].split(":")[0]) == ((1, "NOT VERIFIED") if fails else (0, "VERIFIED")), said
        steps = {int(number): text for number, text in FAILED.findall(said)}
        assert steps.keys() == fails.keys(), said
        for number, words in fails.items():
            assert words in steps[number], said

    def accuse(self, first: bytes, second: bytes | Path, words: str) -> None:
        """What both show proves it to whoever trusts the same keys."""
        target = self.folder / f"accusation-{self._files}"
        other = second if isinstance(second, Path) else self._file(second)
        code, said = self._run("accuse", str(self._file(first)), str(other), "-o", str(target))
        assert code == 0 and said.startswith("MISBEHAVIOUR PROVED: ") and words in said, said
        self.proof(target, said)

    def proof(self, accusation: Path, words: str) -> None:
        """Made by somebody else; `sigillo verify` reads it."""
        code, said = self._run("verify", str(accusation))
        assert code == 1 and said.startswith("MISBEHAVIOUR PROVED: ") and words in said, said

    def _file(self, data: bytes) -> Path:
        self._files += 1
        path = self.folder / f"{self._files}.jsonl"
        path.write_bytes(data)
        return path

    def _run(self, *arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--policy", str(self.folder / "policy.toml")])
        return int(ended.value.code or 0), self._capsys.readouterr().out


@pytest.fixture
def reader(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Reader:
    return Reader(tmp_path, capsys)


def test_the_day_as_it_was_is_verified(operator: Hostile, reader: Reader) -> None:
    reader.verify(operator.day().shown(), {})
    assert not witness(operator).refusals


def test_backdated(operator: Hostile, reader: Reader) -> None:
    """Its clock is an hour behind, all day."""
    operator.skew_ns = HOUR
    reader.verify(operator.day().shown(), {18: "by TSA A and TSA B: backdated"})


def test_postdated(operator: Hostile, reader: Reader) -> None:
    operator.skew_ns = -HOUR
    reader.verify(operator.day().shown(), {18: "by TSA A and TSA B: postdated"})


def test_one_mark_backdated(operator: Hostile, reader: Reader) -> None:
    """The times of its epoch run backward, too, and what is no mark of that order is missing in it."""
    operator.begin().deliver()
    operator.signed(operator.first, time_ns=operator.broker.clock_ns - HOUR)
    operator.anchor()
    words = {7: "the time runs backward", 16: "1 marked message(s)", 18: "backdated"}
    reader.verify(operator.end().shown(), words)


def test_one_mark_postdated(operator: Hostile, reader: Reader) -> None:
    operator.begin().deliver()
    operator.signed(operator.first, time_ns=operator.broker.clock_ns + HOUR)
    operator.anchor()
    reader.verify(operator.end().shown(), {7: "the epoch had ended", 18: "postdated"})


def test_two_histories_for_two_readers(operator: Hostile, reader: Reader) -> None:
    """The witness cosigns the first that it sees, and has a proof of its own then; so have both readers together."""
    operator.begin()
    other = operator.restored()
    for one, device in ((operator, operator.first), (other, other.second)):
        one.signed(device)
        one.anchor()
        one.end()
    mine, theirs = operator.shown(), other.shown()
    reader.verify(mine, {})
    reader.verify(theirs, {19: SPLIT})
    assert "another root for size 10" in witness(operator).refusals[0]
    reader.proof(witness(operator).accusations[0], "two histories")
    reader.accuse(mine, theirs, "two marks with sequence 1 of epoch 1")


def test_truncated_and_signed_again(operator: Hostile, reader: Reader, tmp_path: Path) -> None:
    """What the witness saw is larger, then another; who has a mark of what is gone finds that the log denies it."""
    operator.begin().deliver()
    short = operator.restored()
    operator.deliver()
    operator.anchor()
    mine = operator.shown()
    reader.verify(mine, {})
    short.anchor()
    reader.verify(short.shown(), {19: SPLIT})
    assert "says that it has cosigned" in witness(operator).refusals[0]
    short.signed(short.third)
    short.deliver(3)
    short.anchor()
    reader.verify(short.end().shown(), {11: "1 number(s) of device", 19: SPLIT})
    assert "it has cosigned another tree" in witness(operator).refusals[1]
    reader.accuse(mine, publish(short.log, tmp_path / "public"), "entry 8 of the log is another mark 4 of epoch 1")


def test_a_backup_put_back(operator: Hostile, reader: Reader) -> None:
    """It starts an epoch, and says that the one before ended with what the backup has of it."""
    operator.begin().deliver()
    backup = operator.restored()
    operator.deliver()
    operator.anchor()
    mine = operator.shown()
    backup.broker.start()
    backup.deliver(3)
    backup.anchor()
    theirs = backup.end().shown()
    reader.verify(mine, {})
    reader.verify(theirs, {11: "1 number(s) of device", 19: SPLIT})
    reader.accuse(mine, theirs, "the next statement says that epoch 1 ended with mark 3, and there is a mark 6")


def without(operator: Hostile, *left_out: int) -> list[Line]:
    """The lines of the file without these messages, counted from 0."""
    lines = operator.log.lines()
    messages = [line for line in lines if isinstance(line, MessageLine)]
    return [line for line in lines if line not in [messages[number] for number in left_out]]


def test_a_message_withheld_in_the_middle(operator: Hostile, reader: Reader) -> None:
    """The count of its principal's marks has a hole, and the device's own numbers."""
    words = {10: '1 marked message(s) of "crate-2" before this one', 11: '1 number(s) of device "crate-2"'}
    operator.day(3)
    reader.verify(operator.shown(lines=without(operator, 4)), words)


def test_the_tail_withheld(operator: Hostile, reader: Reader) -> None:
    """The log has heads of the epoch, which say how many there are."""
    operator.day()
    reader.verify(operator.shown(lines=without(operator, 3, 4, 5)), {16: '1 marked message(s) of "crate-1" after'})


def test_a_mark_that_was_never_logged(operator: Hostile, reader: Reader, tmp_path: Path) -> None:
    """Whoever received it has it; the log goes on over its number."""
    operator.begin().deliver()
    operator.signed(operator.first)
    operator.forget()
    delivered = operator.broker.file()
    operator.broker.lines.pop()
    operator.deliver()
    operator.anchor()
    words = {10: "1 marked message(s)", 11: "1 number(s) of device", 15: "2 marks after sequence 3 cannot be between"}
    reader.verify(operator.end().shown(), words)
    reader.accuse(delivered, publish(operator.log, tmp_path / "public"), "leave out mark 4 of epoch 1")


def test_renumbered(operator: Hostile, reader: Reader) -> None:
    """The next mark gets the number, and the place in the chain, of one that was delivered."""
    operator.begin().deliver()
    renumbered = operator.restored()
    operator.signed(operator.first)
    delivered = operator.broker.file()
    renumbered.deliver()
    renumbered.anchor()
    shown = renumbered.end().shown()
    reader.verify(shown, {11: '1 number(s) of device "crate-1"'})
    reader.accuse(delivered, shown, "two marks with sequence 4 of epoch 1")


def test_the_log_kept_from_the_authorities(operator: Hostile, reader: Reader) -> None:
    """For an hour, in which it could still choose what to say."""
    operator.begin().deliver()
    operator.broker.clock_ns += HOUR
    operator.anchor()
    reader.verify(operator.end().shown(), {18: "is wider than the policy's anchors.max_bracket"})


def test_together_with_one_authority_of_two(operator: Hostile, reader: Reader) -> None:
    """TSA A says what the operator's clock says, an hour ago; TSA B the truth."""
    liar, honest = operator.tsas

    def anchor() -> None:
        for authority, skew_ns in ((honest, HOUR), (liar, 0)):
            operator.skew_ns = skew_ns
            operator.anchor(authority)

    operator.broker.start()
    operator.log.sign()
    anchor()
    operator.deliver()
    anchor()
    reader.verify(operator.shown(), {17: 'TSA "B" made the token', 18: "no lower bound"})


def test_with_one_authority_of_two_and_none_of_the_other(operator: Hostile, reader: Reader) -> None:
    """TSA B is never asked, so nobody contradicts A."""
    liar, _ = operator.tsas
    operator.broker.start()
    operator.anchor(liar)
    operator.deliver()
    operator.anchor(liar)
    reader.verify(operator.shown(), {18: "pending"})


def test_with_nobody_but_its_own_witness(operator: Hostile, reader: Reader) -> None:
    note = operator.own.cosign(operator.day().log.note())
    reader.verify(operator.file(note=note), {19: 'witness "own" does not count: operator "Example Broker" runs it'})
