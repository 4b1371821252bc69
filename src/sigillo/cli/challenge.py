"""`sigillo challenge`: have a running broker's TPM answer, now."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import click

from sigillo import disk
from sigillo.challenge import ChallengeError, fetch_challenge
from sigillo.cli.source import FileError, naming, read_at_most, read_policy
from sigillo.cli.terminal import wants_colour
from sigillo.core.challenge import ChallengeAnswer, encode_challenge_answer
from sigillo.core.challenged import ChallengeVerdict, appraise_answer
from sigillo.core.dsse import MAX_ENVELOPE
from sigillo.core.manifest import SignedManifest, decode_manifest
from sigillo.core.policy import Policy
from sigillo.core.quote import NONCE_SIZE
from sigillo.core.rebuild import SignedRebuild, decode_rebuild
from sigillo.report.answered import render_answer
from sigillo.report.escape import escape

_PATH = click.Path(path_type=Path)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Challenger:
    """Who asks: by this policy, with these manifests and rebuild statements. *timeout*: seconds."""

    url: str
    policy: Policy
    manifests: tuple[SignedManifest, ...]
    rebuilds: tuple[SignedRebuild, ...]
    timeout: float

    @classmethod
    def read(
        cls, url: str, policy: Path, manifests: tuple[Path, ...], rebuilds: tuple[Path, ...], timeout: float
    ) -> Challenger:
        """From files. Raises FileError."""
        return cls(
            url,
            read_policy(policy),
            tuple(_read(path, decode_manifest) for path in manifests),
            tuple(_read(path, decode_rebuild) for path in rebuilds),
            timeout,
        )

    def ask(self) -> ChallengeVerdict:
        """Challenge with a fresh nonce, and judge the answer. Raises ChallengeError."""
        nonce = secrets.token_bytes(NONCE_SIZE)
        answer = fetch_challenge(self.url, nonce, self.timeout)
        return appraise_answer(answer, nonce, self.policy, self.manifests, self.rebuilds)


def challenger_options(function: Callable[..., object]) -> Callable[..., object]:
    """The options of whoever challenges."""
    for option in (
        click.option("--timeout", type=click.FloatRange(1, 600), default=30.0, show_default=True, help="Seconds."),
        click.option("--rebuild", "rebuilds", type=_PATH, multiple=True, help="A rebuild statement about a manifest."),
        click.option("--manifest", "manifests", type=_PATH, multiple=True, help="The build manifest of what runs."),
        click.option("--policy", type=_PATH, required=True, help="Whom you trust, and for what (TOML)."),
        click.argument("url"),
    ):
        function = option(function)
    return function


@click.command(
    short_help="Have a running broker's TPM answer, now.",
    epilog="""\b
Exit codes: 0 attested, 1 not attested (also: no quote), 2 not reached, or misused.

\b
Examples:
  sigillo challenge http://127.0.0.1:8380 --policy policy.toml
  sigillo challenge https://broker.example --policy policy.toml --manifest manifest.json --rebuild rebuild.json
  sigillo challenge http://127.0.0.1:8380 --policy policy.toml --json
""",
)
@challenger_options
@click.option("-o", "--output", type=_PATH, help="Keep the answer in this file.")
@click.option("--json", "as_json", is_flag=True, help="Output for programs.")
def command(
    *,
    url: str,
    policy: Path,
    manifests: tuple[Path, ...],
    rebuilds: tuple[Path, ...],
    timeout: float,
    output: Path | None,
    as_json: bool,
) -> int:
    """Ask the broker whose log is at URL for a quote over 32 fresh random bytes, and judge it by the policy.

    It is about this moment; what happened since, and before, the quotes in the log say. A policy with a builder needs
    the manifest of what runs, and rebuild statements about it: the broker serves the one at /manifest.
    """
    challenger = Challenger.read(url, policy, manifests, rebuilds, timeout)
    try:
        verdict = challenger.ask()
    except ChallengeError as error:
        if error.status is None:
            raise
        if as_json:
            click.echo(json.dumps({"attested": False, "reason": error.reason, "status": error.status}))
        else:
            click.echo(f"NOT ATTESTED: {escape(error.reason)}")
        return 1
    if output:
        _keep(output, verdict.answer)
    if as_json:
        click.echo(json.dumps(verdict.to_json(), ensure_ascii=True, indent=2))
    else:
        click.echo(render_answer(verdict, colour=wants_colour()), nl=False)
    return 0 if verdict.attested else 1


def _read(path: Path, decode: Callable[[bytes], T]) -> T:
    with naming(path):
        return decode(read_at_most(path, MAX_ENVELOPE))


def _keep(path: Path, answer: ChallengeAnswer) -> None:
    try:
        disk.replace(path, encode_challenge_answer(answer) + b"\n", disk.PUBLIC)
    except OSError as error:
        raise FileError(f"{path}: cannot be written ({error.strerror}); name another file with -o") from error
