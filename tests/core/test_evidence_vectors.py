"""vectors/evidence and vectors/policy: read as a stranger would, and exactly what their cases make."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from sigillo.core.appraise import appraise
from sigillo.core.errors import DecodeError, PolicyError
from sigillo.core.line import split_lines
from sigillo.core.policy import decode_policy

from ..adversary.broker import NOW_NS
from ..adversary.vector import VECTORS, committed, files

EVIDENCE, POLICY = VECTORS / "evidence", VECTORS / "policy"


def paths(folder: Path, pattern: str) -> list[Path]:
    found = sorted(folder.glob(pattern))
    assert found
    return found


def name(path: Path) -> str:
    return path.stem


def test_the_files_are_what_the_cases_make() -> None:
    made = files()
    assert committed() == made.keys()
    for path, data in made.items():
        assert (VECTORS / path).read_bytes() == data, f"{path}: run python -m tests.adversary.vector"


@pytest.mark.parametrize("path", paths(EVIDENCE / "accept", "*.jsonl"), ids=name)
def test_accepted_evidence_has_exactly_this_verdict(path: Path) -> None:
    policy = decode_policy(path.with_suffix(".policy.toml").read_bytes())
    verdict = appraise(split_lines([path.read_bytes()]), policy, NOW_NS)
    assert verdict.verified
    assert verdict.to_json() == json.loads(path.with_suffix(".verdict.json").read_text())


@pytest.mark.parametrize("path", paths(EVIDENCE / "reject", "unreadable-*.jsonl"), ids=name)
def test_unreadable_evidence(path: Path) -> None:
    with pytest.raises(DecodeError):
        appraise(split_lines([path.read_bytes()]), None, NOW_NS)


@pytest.mark.parametrize("path", paths(EVIDENCE / "reject", "step-*.jsonl"), ids=name)
def test_evidence_that_fails_at_the_step_of_its_name(path: Path) -> None:
    policy = decode_policy((EVIDENCE / "reject" / "policy.toml").read_bytes())
    verdict = appraise(split_lines([path.read_bytes()]), policy, NOW_NS)
    match = re.match(r"step-(\d\d)-", path.name)
    assert match
    assert not verdict.verified
    assert verdict.checks[int(match[1]) - 1].failures.count


@pytest.mark.parametrize("path", paths(EVIDENCE / "reject", "strict-*.jsonl"), ids=name)
def test_evidence_that_fails_where_every_absence_is_refused(path: Path) -> None:
    """Of what is there nothing else fails; of an absence there is a permission for the rest."""
    policy = decode_policy((EVIDENCE / "reject" / "strict.policy.toml").read_bytes())
    verdict = appraise(split_lines([path.read_bytes()]), policy, NOW_NS)
    assert not verdict.verified
    assert verdict.checks[int(path.name[7:9]) - 1].failures.count


@pytest.mark.parametrize("path", paths(EVIDENCE / "reject", "attested-*.jsonl"), ids=name)
def test_evidence_that_fails_what_a_tpm_says(path: Path) -> None:
    """Nothing of steps 1 to 12 fails: the operator's own words hold."""
    policy = decode_policy((EVIDENCE / "reject" / "attested.policy.toml").read_bytes())
    verdict = appraise(split_lines([path.read_bytes()]), policy, NOW_NS)
    assert not verdict.verified
    assert verdict.checks[int(path.name[9:11]) - 1].failures.count
    assert not any(check.failures.count for check in verdict.checks[:12])


@pytest.mark.parametrize("path", paths(POLICY / "accept", "*.toml"), ids=name)
def test_accepted_policies(path: Path) -> None:
    assert decode_policy(path.read_bytes()).devices


@pytest.mark.parametrize("path", paths(POLICY / "reject", "*.toml"), ids=name)
def test_rejected_policies_name_the_key_of_their_first_line(path: Path) -> None:
    field = path.read_text().splitlines()[0].removeprefix("# ").split(":")[0]
    with pytest.raises(PolicyError) as caught:
        decode_policy(path.read_bytes())
    assert caught.value.field.startswith(field)
