"""`sigillo`: finds the command, runs it, and turns every expected failure into one line and an exit code.

Exit codes: what the command says (0 or 1); 2 where input cannot be used; 130 after Ctrl-C; 1 where whoever reads the
output has gone (click's way: nobody heard an answer).
"""

from __future__ import annotations

import importlib
import signal
import sys
from collections.abc import Sequence

import click

from sigillo.core.errors import SigilloError
from sigillo.report.escape import escape

COMMANDS = {
    "verify": "Verify an evidence file, offline.",
    "inspect": "Show what an evidence file holds; no trust implied.",
    "accuse": "Find what proves misbehaviour in two evidence files.",
    "policy": "Say whom to trust: make or check a policy.",
    "challenge": "Have a running broker's TPM answer, now.",
    "watch": "Challenge a broker again and again; say what changes.",
    "up": "Run the certified broker (operator).",
    "device": "Make, enrol and simulate devices; sign as one.",
    "evidence": "Write an evidence file from an archive.",
    "log": "Check, show and prove the operator's log.",
    "build": "Build from verified source, by a recipe.",
    "rebuild": "Rebuild from a manifest alone; sign what came out.",
    "release": "Make and sign what a builder publishes.",
    "tpm": "Seal the log key in a TPM, approve boots (operator).",
    "tsa": "Run a local time-stamp authority (demo, tests).",
    "witness": "Run a witness: cosign the logs of others.",
    "swtpm": "Run a TPM in software (demo, tests).",
    "registrar": "Register TPMs: which attestation key is whose.",
}
_EXTRAS = {"evidence": "archive", "release": "build"}
_RELOADED = ("up",)
"""SIGHUP asks them to read everything anew, and until they have read it there is nothing to do: it is ignored before
their packages are loaded, which takes a while, until there is a handler."""
_UNUSABLE, _INTERRUPTED = 2, 130


class _Commands(click.Group):
    """Loads a command's module only when it is called: the verifier needs none of the broker's packages."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        if cmd_name in _RELOADED:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            module = importlib.import_module(f"sigillo.cli.{cmd_name}")
        except ModuleNotFoundError as error:
            if error.name is None or error.name.startswith("sigillo"):
                raise
            extra = _EXTRAS.get(cmd_name, "broker")
            raise click.ClickException(
                f"`sigillo {cmd_name}` needs the package {error.name}: pip install 'sigillo[{extra}]'"
            ) from error
        command = module.command
        assert isinstance(command, click.Command)  # every module of a command has one
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(
    cls=_Commands,
    epilog="""\b
Examples:
  sigillo verify evidence.jsonl --policy policy.toml
  sigillo inspect evidence.jsonl
  sigillo policy new --operator operator.toml --device crate-1=signing.pub.pem -o policy.toml
""",
)
@click.version_option(package_name="sigillo")
def _sigillo() -> None:
    """A certified, verifiable MQTT broker: signed time marks, verified offline by anyone."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    sys.exit(_run(arguments))


def _run(arguments: Sequence[str] | None) -> int:
    try:
        code = _sigillo.main(args=arguments, prog_name="sigillo", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return _UNUSABLE
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "sigillo"
        return _refuse(f"{error.format_message()} Try `{where} --help`.")
    except click.ClickException as error:
        return _refuse(error.format_message())
    except SigilloError as error:
        return _refuse(str(error))
    except OSError as error:
        return _refuse(f"{error.filename or 'input or output'}: {error.strerror or error}")
    except (KeyboardInterrupt, click.Abort):
        click.echo("sigillo: interrupted", err=True)
        return _INTERRUPTED


def _refuse(reason: str) -> int:
    click.echo(f"sigillo: error: {escape(reason)}", err=True)
    return _UNUSABLE


if __name__ == "__main__":
    main()
