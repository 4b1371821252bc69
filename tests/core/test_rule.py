"""Configuration rules (spec/rule.md): one changed line breaks its rule; what is not shown breaks every rule."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigillo.core.access_list import decode_access_list
from sigillo.core.errors import ConfigurationError, PolicyError
from sigillo.core.rule import DEFAULT_RULES, RULES, Violation, appraise_configuration, member_name

from ..adversary.vector import VECTORS
from .rule_case import CONF, FILES, FOLDER, ONE_LINE, TEXT, Case, accepted, command, refused, with_text
from .test_directive import TEXTS


def paths(verdict: str) -> list[Path]:
    found = sorted((VECTORS / "rule" / verdict).glob("*.json"))
    assert found
    return found


@pytest.mark.parametrize("path", [*paths("accept"), *paths("reject")], ids=lambda path: path.stem)
def test_vectors_are_appraised_as_they_say(path: Path) -> None:
    case = json.loads(path.read_text())
    found = appraise_configuration(case["files"], case["command"], case["rules"])
    assert [{"rule": violation.rule, "reason": violation.reason} for violation in found] == case["violations"]
    assert bool(found) is (path.parent.name == "reject")


@pytest.mark.parametrize("case", accepted().values(), ids=accepted())
def test_where_every_rule_holds(case: Case) -> None:
    assert appraise_configuration(case.files, case.command, case.rules) == ()


@pytest.mark.parametrize("case", refused().values(), ids=refused())
def test_what_breaks_rules_breaks_these_and_no_others(case: Case) -> None:
    found = appraise_configuration(case.files, case.command, case.rules)
    assert {violation.rule for violation in found} == set(case.breaks)
    assert all(violation.reason for violation in found)


def test_every_rule_is_broken_by_one_line() -> None:
    """The other two by one line that is taken out: `plugin` and `acl_file`, test_what_breaks_rules."""
    assert {rule for _, rule in ONE_LINE.values()} == set(RULES) - {"acl"}
    assert refused()["no-access-list"].breaks == ("acl", "retained-checked")


def test_a_reason_names_file_line_and_directive() -> None:
    found = appraise_configuration(with_text({CONF: f"{TEXT}listener 1883\n"}), command(), ["tls"])
    number = TEXT.count("\n") + 1
    assert found == (
        Violation("tls", f"{CONF}: line {number}: `listener` has no TLS; give it `certfile` and `keyfile`"),
    )


def test_what_is_not_shown_is_called_so() -> None:
    (found,) = appraise_configuration(with_text({"conf/acl": None}), command(), DEFAULT_RULES)
    assert (found.rule, found.reason.startswith("conf/acl: not shown")) == ("acl", True)
    every = appraise_configuration(with_text({CONF: None}), command(), RULES)
    assert [violation.rule for violation in every] == list(RULES)
    assert all("not shown" in violation.reason for violation in every)


@pytest.mark.parametrize("rules", [["tls", "tlss"], ["process-user"], [""], []])
def test_a_rule_that_is_not_known_is_no_rule_that_holds(rules: list[str]) -> None:
    with pytest.raises(PolicyError, match="rules: "):
        appraise_configuration(FILES, command(), rules)


def test_the_order_is_that_of_the_specification() -> None:
    case = refused()["dynamic-security"]
    found = appraise_configuration(case.files, case.command, case.rules[::-1])
    assert [violation.rule for violation in found] == ["no-dynamic-security", "no-other-plugin", "measured-files"]
    spec = (VECTORS.parent / "spec/rule.md").read_text(encoding="utf-8")
    sections = [line.removeprefix("### ") for line in spec.splitlines() if line.startswith("### ")]
    assert sections == list(RULES)


def test_the_worked_example_is_a_vector() -> None:
    case = refused()["worked-example"]
    spec = (VECTORS.parent / "spec/rule.md").read_text(encoding="utf-8")
    example = " ".join(spec.partition("## Worked example")[2].partition("```text")[2].split())
    (found,) = appraise_configuration(case.files, case.command, case.rules)
    names = [f"{name} {(text or 'null').strip()}" for name, text in case.files.items()]
    shown = ["command", *case.command, "files", *names, "-------", found.rule, found.reason, "```"]
    assert example == " ".join(" ".join(shown).split())


SEGMENTS = st.sampled_from(["srv", "broker", "a", "..", ".", "", "b.conf", "…"])


@given(st.lists(SEGMENTS, min_size=1, max_size=6).map("/".join).filter(bool))
def test_a_file_has_the_name_that_the_launcher_gives_it(path: str) -> None:
    """spec/epoch.md: relative to the operator folder, with its absolute path outside (broker/configuration.py)."""
    file = PurePosixPath(FOLDER) / path
    launchers = file.relative_to(FOLDER) if file.is_relative_to(FOLDER) else file
    assert member_name(FOLDER, path) == launchers.as_posix()


@given(st.dictionaries(st.sampled_from(["conf/acl", "conf/a.conf", "x"]), st.none() | st.text(max_size=40)), TEXTS)
def test_any_text_is_appraised_always_alike(files: dict[str, str | None], text: str) -> None:
    shown = {**files, CONF: f"listener 1\n{text}"}
    found = appraise_configuration(shown, command(), RULES)
    assert found == appraise_configuration(shown, command(), RULES)
    assert "plugin-first" in {violation.rule for violation in found}


@given(st.text(max_size=60) | st.lists(st.sampled_from(["topic", "pattern", "user", "read", "#", "\n"])).map(" ".join))
def test_any_access_list_is_read_or_refused(text: str) -> None:
    try:
        assert all(grant.topic_filter for grant in decode_access_list("acl", text))
    except ConfigurationError as error:
        assert error.where.startswith("acl")


def test_a_huge_configuration_is_refused_in_time() -> None:
    """Attack 29: one that includes itself many times over, or names very much, costs no more than its bytes."""
    large = "# x\n" * 100_000
    bombs = {
        CONF: "include_dir conf\n" * 60_000,
        "conf/a.conf": large,
    }
    (found,) = appraise_configuration(bombs, command(), ["tls"])
    assert "include_dir" in found.reason or "larger" in found.reason
    many = "plugin_load a /a\nlistener 1\n" + "plugin_load b /b\n" * 20_000 + "plugin_use b\n" * 20_000
    assert appraise_configuration({CONF: many}, command(), RULES)
