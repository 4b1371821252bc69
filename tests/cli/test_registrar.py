"""`sigillo registrar`: a registration by files. Nothing is registered that its TPM has not shown (attacks 4 and 5)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sigillo.core.endorsement import decode_registration
from sigillo.core.registration_exchange import Answer, decode_answer, encode_answer

from ..attestation import rig
from ..attestation.registered import Exchange
from .command import Answer as Said
from .command import refused, sigillo


def run(*words: object) -> Said:
    said = sigillo(*words)
    assert (said.code, said.err) == (0, ""), said
    return said


@pytest.fixture(scope="module")
def tpm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = rig.made(tmp_path_factory.mktemp("tpm") / "t")
    with rig.started(folder):
        yield folder


@pytest.fixture
def store(tmp_path: Path) -> Path:
    run("registrar", "new", tmp_path / "registrar")
    return tmp_path / "registrar"


@pytest.fixture
def exchange(tpm: Path, tmp_path: Path) -> Exchange:
    return Exchange(run, tmp_path / "files", tpm)


def operator_folder(parent: Path) -> None:
    (parent / "operator").mkdir()
    (parent / "operator/sigillo.toml").touch()


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_registration_from_end_to_end(exchange: Exchange, store: Path, tmp_path: Path) -> None:
    asked = run(*exchange.request_words()).out
    assert f"SHA-256 {exchange.endorsement}" in asked
    made = run(*exchange.challenge_words(store)).out
    assert "a SOFTWARE TPM of maker swtpm 0" in made
    run(*exchange.answer_words())
    assert mode(exchange.file("answer.cbor")) == 0o600
    assert mode(store / "registrar.key.pem") == 0o600
    assert [mode(path) for path in (store / "pending").iterdir()] == [0o600]
    secret = decode_answer(exchange.file("answer.cbor").read_bytes()).secret
    kept = [path.read_bytes() for path in store.rglob("*") if path.is_file()]
    assert not any(secret in data for data in kept)
    done = run(*exchange.register_words(store)).out
    assert "Example Broker is registered" in done
    assert not list((store / "pending").iterdir())
    registration = decode_registration(exchange.file("r.cbor").read_bytes()).registration
    assert registration.identity == "Example Broker"
    assert registration.key.name.hex() in asked and registration.key.name.hex() in made
    operator_folder(tmp_path)
    run(*exchange.install_words(tmp_path / "operator"))
    installed = tmp_path / "operator/attestation/registration.cose"
    assert installed.read_bytes() == exchange.file("r.cbor").read_bytes()
    assert (mode(installed), mode(installed.parent)) == (0o644, 0o755)


def test_an_answer_counts_once_and_a_wrong_one_too(exchange: Exchange, store: Path) -> None:
    exchange.register(store)
    exchange.file("r.cbor").unlink()
    refused(*exchange.register_words(store), says="did not prove")
    exchange.file("credential.cbor").unlink()
    run(*exchange.challenge_words(store))
    exchange.file("answer.cbor").unlink()
    run(*exchange.answer_words())
    right = exchange.file("answer.cbor").read_bytes()
    exchange.file("answer.cbor").write_bytes(encode_answer(Answer(decode_answer(right).number, bytes(32))))
    refused(*exchange.register_words(store), says="did not prove")
    exchange.file("answer.cbor").write_bytes(right)
    refused(*exchange.register_words(store), says="no such challenge (any more)")
    assert not exchange.file("r.cbor").exists()


def test_another_tpm_neither_answers_nor_installs_nor_takes_over(
    exchange: Exchange, store: Path, tpm: Path, tmp_path: Path
) -> None:
    """Attacks 4 and 5: the other TPM's maker is believed too."""
    folder = rig.made(tmp_path / "t")
    other = Exchange(run, tmp_path / "others", folder)
    with rig.started(folder):
        run(*exchange.request_words())
        run(*exchange.challenge_words(store, tpm, folder))
        other.file("credential.cbor").write_bytes(exchange.file("credential.cbor").read_bytes())
        refused(*other.answer_words(), says="name the TPM that the request was made with")
        other.file("credential.cbor").unlink()
        run(*exchange.answer_words())
        run(*exchange.register_words(store))
        run(*other.request_words())
        refused(*other.challenge_words(store, tpm, folder), says="is refused: another TPM")
        exchange.identity = "Other"
        exchange.file("credential.cbor").unlink()
        refused(*exchange.challenge_words(store), says="another identity's")
        operator_folder(tmp_path)
        other.file("r.cbor").write_bytes(exchange.file("r.cbor").read_bytes())
        refused(*other.install_words(tmp_path / "operator"), says="name the TPM that was registered")
        refused(*other.challenge_words(store, tpm), says="no maker that is believed here certifies the EK")
    assert not (tmp_path / "operator/attestation").exists()


def test_a_registrar_is_made_once_and_has_to_be_there(exchange: Exchange, store: Path, tmp_path: Path) -> None:
    refused("registrar", "new", store, says="is a registrar already; its public key is in")
    run(*exchange.request_words())
    refused(*exchange.challenge_words(tmp_path / "nowhere"), says="make one with `sigillo registrar new")
    exchange.file("answer.cbor").write_bytes(encode_answer(Answer(bytes(16), bytes(32))))
    refused(*exchange.register_words(tmp_path / "nowhere"), says="make one with `sigillo registrar new")
    assert not (tmp_path / "nowhere").exists()


def test_files_of_another_kind_and_outputs_that_are_there(exchange: Exchange, store: Path, tmp_path: Path) -> None:
    run(*exchange.request_words())
    request = exchange.file("request.cbor")
    refused(*exchange.request_words(), says="is there already; name another file with -o")
    refused(
        "registrar", "challenge", store / "registrar.pub.pem", *exchange.challenge_words(store)[3:], says="it must be"
    )
    exchange.file("answer.cbor").write_bytes(request.read_bytes())
    refused(*exchange.register_words(store), says="is another kind of file: 'registration-request'")
    exchange.file("credential.cbor").write_bytes(b"")
    refused(*exchange.challenge_words(store), says="is there already")
    assert not (store / "pending").exists()
    exchange.file("answer.cbor").unlink()
    refused(*exchange.answer_words(), says="it must be what `sigillo registrar challenge` wrote")
    exchange.file("r.cbor").write_bytes(b"\0" * 70_000)
    refused(*exchange.install_words(tmp_path), says="it must be what `sigillo registrar register` wrote")
    words = ["--issuer", request, "-o", tmp_path / "x"]
    refused("registrar", "request", "--tpm", exchange.socket, *words, says="is not a list of certificates in PEM")
    refused("registrar", "request", "--tpm", tmp_path / "none", "-o", tmp_path / "x", says="there is no TPM")


def test_installing_needs_the_operators_folder(exchange: Exchange, store: Path, tmp_path: Path) -> None:
    """`sigillo up` would take a new folder with something in it for another's."""
    exchange.register(store)
    (tmp_path / "operator").mkdir()
    for folder in (tmp_path / "operator", tmp_path / "nowhere"):
        refused(*exchange.install_words(folder), says="is no operator folder; start the broker once")
    assert not list((tmp_path / "operator").iterdir())
