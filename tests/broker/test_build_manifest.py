"""The operator's side of a build manifest: nothing else is run, and evidence gets what was kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from sigillo.broker.build_manifest import build_lines, check_programs, keep_manifest, kept_path, load_manifest
from sigillo.broker.error import BrokerError
from sigillo.broker.folder import OperatorFolder
from sigillo.core.evidence import MAX_REBUILDS
from sigillo.core.evidence_line import ManifestLine, RebuildLine
from sigillo.core.manifest import Manifest, decode_manifest

from ..adversary.broker import HASHES
from ..adversary.builder import MOSQUITTO, dsse_key, manifest_of, signed_manifest, signed_statement
from ..adversary.built import rebuilt_by
from .operator import installed

MANIFEST = signed_manifest(manifest_of(HASHES["executable"], HASHES["plugin"]))
SIGNED = decode_manifest(MANIFEST)
EXECUTABLE = (Path("/usr/sbin/mosquitto"), HASHES["executable"])
PLUGIN = (Path("plugin/sigillo.so"), HASHES["plugin"])
FILE = Path("manifest.json")


@pytest.fixture
def folder(tmp_path: Path) -> OperatorFolder:
    return installed(tmp_path)


def test_what_the_manifest_says_may_run() -> None:
    check_programs(SIGNED, FILE, EXECUTABLE, PLUGIN)


@pytest.mark.parametrize("which", ["executable", "plugin"])
def test_another_program_is_refused_by_name(which: str) -> None:
    programs = {"executable": EXECUTABLE, "plugin": PLUGIN}
    programs[which] = (programs[which][0], bytes(32))
    with pytest.raises(BrokerError, match=f"{programs[which][0]}: sha256 0000.* is not the {which} of") as caught:
        check_programs(SIGNED, FILE, **programs)
    assert HASHES[which].hex() in str(caught.value)


def test_a_manifest_of_one_program_does_not_do() -> None:
    alone = decode_manifest(signed_manifest(Manifest("b", (MOSQUITTO,))))
    with pytest.raises(BrokerError, match="has no plugin among its outputs"):
        check_programs(alone, FILE, (EXECUTABLE[0], MOSQUITTO.outputs[1].sha256), PLUGIN)


def test_a_manifest_that_its_key_did_not_sign_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    with pytest.raises(BrokerError, match="No such file"):
        load_manifest(path)
    path.write_bytes(MANIFEST.replace(dsse_key("builder").raw.hex().encode(), dsse_key("another").raw.hex().encode()))
    with pytest.raises(BrokerError, match=f"{path}: .*signature"):
        load_manifest(path)
    path.write_bytes(MANIFEST[:-9])
    with pytest.raises(BrokerError, match=f"{path}: .*get it again"):
        load_manifest(path)


def test_evidence_gets_what_was_kept(folder: OperatorFolder) -> None:
    keep_manifest(folder, SIGNED)
    keep_manifest(folder, SIGNED)
    assert kept_path(folder, SIGNED.sha256).read_bytes() == MANIFEST
    for at, statement in enumerate([*rebuilt_by(MANIFEST, "B", "A"), signed_statement(signed_manifest())]):
        (folder.rebuilds / f"{at}.json").write_bytes(statement)
    lines = build_lines(folder, [SIGNED.sha256, bytes(32), SIGNED.sha256])
    texts = sorted(statement.decode() for statement in rebuilt_by(MANIFEST, "A", "B"))
    assert lines == [ManifestLine(MANIFEST.decode()), *map(RebuildLine, texts)], "the third is about another manifest"


def test_no_more_than_a_file_may_have(folder: OperatorFolder) -> None:
    keep_manifest(folder, SIGNED)
    for at in range(MAX_REBUILDS + 1):
        (folder.rebuilds / f"{at:03}.json").write_bytes(signed_statement(MANIFEST, f"R{at}", f"r{at}"))
    lines = build_lines(folder, [SIGNED.sha256])
    assert len(lines) == 1 + MAX_REBUILDS


def test_a_statement_that_would_spoil_the_evidence_is_named(folder: OperatorFolder) -> None:
    keep_manifest(folder, SIGNED)
    path = folder.rebuilds / "a.json"
    good = signed_statement(MANIFEST)
    path.write_bytes(good.replace(dsse_key("rebuilder").raw.hex().encode(), dsse_key("x").raw.hex().encode()))
    with pytest.raises(BrokerError, match=f"{path}: .*take it out"):
        build_lines(folder, [SIGNED.sha256])
