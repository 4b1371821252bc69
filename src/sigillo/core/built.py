"""Step 12 of spec/verification.md as it is run: of a file's epochs, and of an answer to a challenge."""

from __future__ import annotations

from sigillo.core import build_step
from sigillo.core.build_step import Builds
from sigillo.core.build_trust import BuildTrust
from sigillo.core.ledger import Ledger
from sigillo.core.manifest import SignedManifest
from sigillo.core.rebuild import SignedRebuild
from sigillo.core.run import Run
from sigillo.core.trusted import VerifiedStatement


def keep_manifest(signed: SignedManifest, builds: Builds, trust: BuildTrust, run: Run) -> None:
    """Keep a manifest for the epochs that name it; one that does not count fails."""
    _, manifest = run.attempt(build_step.check_manifest, signed, trust)
    builds.manifests |= {manifest.sha256: manifest} if manifest else {}


def keep_rebuild(signed: SignedRebuild, builds: Builds, trust: BuildTrust, run: Run) -> None:
    """Keep a rebuild statement about a manifest that is kept; one that does not count fails."""
    _, rebuild = run.attempt(build_step.check_rebuild, signed, builds, trust)
    builds.rebuilds += [rebuild] if rebuild else []


def judge_build(verified: VerifiedStatement, builds: Builds, trust: BuildTrust, run: Run, ledger: Ledger) -> None:
    """What an epoch ran is what the policy says, and others made it again."""
    passed, needed_permission = run.step(12, build_step.check_build, verified, builds, trust)
    if passed and needed_permission:
        ledger.relaxed("operator.unsafe_any_build")
    if not trust.builders:
        return
    built = builds.built_by(verified, trust)
    rebuilt = run.permit("missing.allow_not_rebuilt", 12, build_step.check_rebuilt, built, trust)
    if built:
        ledger.built(built, rebuilt=rebuilt)
