"""`sigillo build`: build from verified source, by a recipe."""

from __future__ import annotations

from pathlib import Path

import click

from sigillo.build.builder import Options, build, read_order, with_root
from sigillo.build.compare import Grade
from sigillo.build.facts import Facts
from sigillo.cli.source import naming
from sigillo.report.escape import escape

_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command(
    short_help="Build from verified source, by a recipe.",
    epilog="""\b
Exit codes: 0 built; 1 built, but something is not Debian's own or a variation mattered; 2 not built.
Examples:
  sigillo build recipes/mosquitto-bookworm.toml -o mosquitto
  sigillo build recipes/mosquitto-bookworm.toml -o mosquitto --cache debs --vary
  sigillo build recipes/plugin-bookworm.toml -o plugin --source release --keys release/keys.gpg
""",
)
@click.argument("recipe", type=click.Path(path_type=Path, dir_okay=False))
@click.option("-o", "--output", "out", required=True, type=_FOLDER, help="Folder to make; appears when all is done.")
@click.option("--source", type=click.Path(path_type=Path), help="Where the source lies; else it is fetched.")
@click.option("--keys", type=click.Path(path_type=Path, dir_okay=False), help="Keyring, where the recipe names none.")
@click.option("--root", type=click.Path(path_type=Path), help="root.txt or .buildinfo: the very root of that build.")
@click.option("--cache", "caches", multiple=True, type=_FOLDER, help="Folder with packages that the mirror may lack.")
@click.option("--mirror", default="", metavar="URI", help="Debian's mirror; else this machine's own.")
@click.option("--snapshot", default="", metavar="URL", help="Debian's snapshot archive; else as apt knows it.")
@click.option("--keep-roots", "keep", type=_FOLDER, help="Keep roots here, and use one of the same inputs again.")
@click.option("--vary", is_flag=True, help="Build again under eight other conditions, and compare.")
@click.option("--unsafe-network", is_flag=True, help="Where a build cannot be shut in: let it have a network.")
def command(  # noqa: PLR0917  # click passes them by name
    recipe: Path,
    out: Path,
    source: Path | None,
    keys: Path | None,
    root: Path | None,
    caches: tuple[Path, ...],
    mirror: str,
    snapshot: str,
    keep: Path | None,
    vary: bool,
    unsafe_network: bool,
) -> int:
    """Build what RECIPE says into the new folder OUT: source verified under its pinned keys, in a root made for it.

    It needs root; the steps of the recipe run as an ordinary user, without a network.
    """
    with naming(recipe, "recipes/ has those that Sigillo ships"):
        order = read_order(recipe, keys)
    if root is not None:
        with naming(root):
            order = with_root(order, root)
    options = Options(source, caches, mirror, snapshot, keep, vary, unsafe_network)
    facts = build(order, out, options, lambda line: click.echo(f"  {escape(line)}", err=True))
    click.echo(table(facts, out))
    good = all(one.comparison.grade is Grade.PACKAGE for one in facts.compared)
    return 0 if good and not any(row.differing for row in facts.variations) else 1


def table(facts: Facts, out: Path) -> str:
    """What was built and how it compares, for a person."""
    made = facts.build
    lines = [f"{out}: {made.name} {made.version}", f"source  {made.source_commit}, signed by {made.source.signer}"]
    if facts.note:
        lines.append(f"note    {facts.note}")
    compared = {one.name: one.comparison for one in facts.compared}
    for output in made.outputs:
        found = compared.get(output.name)
        lines.append(f"{output.sha256.hex()}  {output.name}" + (f"  {WORDS[found.grade]}" if found else ""))
        if found and found.difference:
            lines.append(f"        {escape(found.difference)}")
    if compared:
        same = sum(one.grade is Grade.PACKAGE for one in compared.values())
        lines.append(f"{same} of {len(compared)} packages are bit for bit Debian's own")
    for row in facts.variations:
        differing = f"; differing: {', '.join(row.differing)}" if row.differing else ""
        lines.append(f"{row.name:<16} {len(row.equal)} of {len(row.equal) + len(row.differing)} equal{differing}")
    return "\n".join(lines)


WORDS = {
    Grade.PACKAGE: "= Debian's, bit for bit",
    Grade.FILE: "same files as Debian's, other package",
    Grade.STRIPPED: "as Debian's without the links to debug symbols",
    Grade.DIFFERENT: "differs from Debian's",
}
