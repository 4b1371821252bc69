"""The files of vectors/manifest and vectors/rebuild-statement; `python -m tests.adversary.vector` writes them."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from typing import Any

from sigillo.core import manifest, rebuild
from sigillo.core.bytes import base64_encode
from sigillo.core.canonical import canonical
from sigillo.core.manifest import Manifest, decode_manifest
from sigillo.core.rebuild import decode_rebuild

from .builder import MOSQUITTO, PLUGIN, enveloped, sha256, signed_manifest, signed_statement
from .forge import GROUP_ORDER

Change = Callable[[dict[str, Any]], object]


def build_files() -> dict[str, bytes]:
    """Every file of both formats, by its path below ``vectors/``."""
    made = {f"manifest/accept/{name}.json": data for name, data in manifests().items()}
    made |= {f"manifest/reject/{name}.json": data for name, data in refused_manifests().items()}
    made |= {f"rebuild-statement/accept/{name}.json": data for name, data in statements().items()}
    made |= {f"rebuild-statement/reject/unreadable-{name}.json": data for name, data in refused_statements().items()}
    return made | {f"rebuild-statement/reject/manifest-{name}.json": data for name, data in foreign().items()}


@cache
def broker() -> bytes:
    return signed_manifest()


def manifests() -> dict[str, bytes]:
    return {"broker": broker(), "plugin-alone": signed_manifest(Manifest("Però & Figli", (PLUGIN,)))}


def statements() -> dict[str, bytes]:
    """All equal, and one output of each other kind."""
    partly = json.loads(decode_rebuild(signed_statement(broker())).envelope.payload)
    equal_without(partly)
    partly["builds"][1]["outputs"][0].update(equality="missing", size=None, sha256=None)
    partly["builds"][1]["root"] = json.loads(decode_manifest(broker()).envelope.payload)["builds"][1]["root"]
    return {
        "all-identical": signed_statement(broker()),
        "executable-differs": signed_statement(broker(), executable=sha256("another")),
        "partly": enveloped(rebuild.KIND, partly, "rebuilder"),
    }


def equal_without(value: dict[str, Any]) -> None:
    sections = [".gnu_debuglink", ".note.gnu.build-id"]
    value["builds"][0]["outputs"][1].update(
        equality="identical-without", without=sections, sha256=sha256("another").hex()
    )


def changed(data: bytes, kind: str, seed: str, change: Change) -> bytes:
    """The payload with a change, validly signed."""
    decode = decode_manifest if kind == manifest.KIND else decode_rebuild
    value = json.loads(decode(data).envelope.payload)
    change(value)
    return enveloped(kind, value, seed)


def envelope_cases(data: bytes, other_type: str) -> dict[str, bytes]:
    """Envelopes that are none, or of another kind; the payload is good."""
    value = json.loads(data)
    signature = value["signatures"][0]

    def with_(**members: Any) -> bytes:
        return canonical({**value, **members}) + b"\n"

    return {
        "no-line-feed": data[:-1],
        "two-lines": data + data,
        "space": data.replace(b'"payloadType":', b'"payloadType": '),
        "another-type": with_(payloadType=other_type),
        "type-of-in-toto": with_(payloadType="application/vnd.in-toto+json"),
        "no-signature": with_(signatures=[]),
        "two-signatures": with_(signatures=[signature, signature]),
        "signature-short": with_(signatures=[{**signature, "sig": base64_encode(bytes(63))}]),
        "signature-member-unknown": with_(signatures=[{**signature, "cert": ""}]),
        "keyid-upper-case": with_(signatures=[{**signature, "keyid": signature["keyid"].upper()}]),
        "keyid-missing": with_(signatures=[{"sig": signature["sig"]}]),
        "member-unknown": with_(more=1),
        "payload-url-base64": with_(payload=value["payload"].rstrip("=") + "-_"),
        "payload-no-object": with_(payload=base64_encode(b"[]")),
        "payload-not-canonical": with_(payload=base64_encode(b'{"version": 1}')),
        "not-json": b"-----BEGIN PGP SIGNED MESSAGE-----\n",
    }


def malleated(data: bytes) -> bytes:
    """The same signature with S + L for S."""
    signature = decode_manifest(data).envelope.signature
    second = (int.from_bytes(signature[32:], "little") + GROUP_ORDER).to_bytes(32, "little")
    return data.replace(base64_encode(signature).encode(), base64_encode(signature[:32] + second).encode())


def refused_manifests() -> dict[str, bytes]:
    made = envelope_cases(broker(), "application/vnd.sigillo.rebuild-statement+json")
    for name, change in MANIFEST_CHANGES.items():
        made[name] = changed(broker(), manifest.KIND, "builder", change)
    return made


def first(**members: Any) -> Change:
    """Changes members of the first build."""
    return lambda value: value["builds"][0].update(members)


def at(*path: str | int, **members: Any) -> Change:
    """Changes members of the object at *path*."""

    def change(value: dict[str, Any]) -> None:
        found: Any = value
        for step in path:
            found = found[step]
        found.update(members)

    return change


def reverse(*path: str | int) -> Change:
    """Turns the list at *path* round."""

    def change(value: dict[str, Any]) -> None:
        found: Any = value
        for step in path:
            found = found[step]
        found.reverse()

    return change


ESCAPES = {"parent": "../etc/passwd", "absolute": "/etc/passwd", "inside": "a/../../b", "dot": "./a", "empty": "a//b"}
MANIFEST_CHANGES: dict[str, Change] = {
    "format-of-another": lambda value: value.update(format="sigillo-rebuild-statement"),
    "version-2": lambda value: value.update(version=2),
    "version-true": lambda value: value.update(version=True),
    "builder-empty": lambda value: value.update(builder=""),
    "builder-missing": lambda value: value.pop("builder"),
    "no-build": lambda value: value.update(builds=[]),
    "builds-out-of-order": reverse("builds"),
    "build-twice": lambda value: value["builds"].insert(0, value["builds"][0]),
    "build-member-unknown": first(note=""),
    "name-upper-case": first(name="Mosquitto"),
    "version-blank": first(version="2.0 11"),
    "recipe-empty": first(recipe=""),
    "recipe-file-not-base64": at("builds", 0, "recipe_files", 0, content="="),
    "recipe-file-twice": lambda value: value["builds"][0]["recipe_files"].append(value["builds"][0]["recipe_files"][0]),
    "source-kind": at("builds", 0, "source", kind="zip"),
    "source-not-signed": at("builds", 0, "source", signer=""),
    "source-signer-lower-case": at("builds", 0, "source", signer=MOSQUITTO.source.signer.lower()),
    "commit-of-another-kind": first(source_commit=sha256("dsc").hex()),
    "commit-of-no-file": first(source_commit=f"dsc:sha256:{sha256('other').hex()}"),
    "date-without-zone": first(build_date="2025-05-28T22:39:38"),
    "date-that-is-none": first(build_date="2025-02-29T00:00:00Z"),
    "date-is-not-the-environments": first(build_date="2025-05-28T22:39:39Z"),
    "environment-without-date": first(environment={"LC_ALL": "C"}),
    "environment-name": at("builds", 0, "environment", **{"A=B": ""}),
    "environment-nul": at("builds", 0, "environment", A="\0"),
    "no-package": at("builds", 0, "root", packages=[]),
    "packages-out-of-order": reverse("builds", 0, "root", "packages"),
    "package-without-hash": lambda value: value["builds"][0]["root"]["packages"][0].pop("sha256"),
    "path-relative": first(path="build"),
    "path-outside": first(path="/build/../etc"),
    "no-step": first(steps=[]),
    "no-output": first(outputs=[]),
    "outputs-out-of-order": reverse("builds", 0, "outputs"),
    "output-role": at("builds", 0, "outputs", 0, role="broker"),
    "output-size-negative": at("builds", 0, "outputs", 0, size=-1),
    "output-size-true": at("builds", 0, "outputs", 0, size=True),
    "output-hash-upper-case": at("builds", 0, "outputs", 0, sha256=sha256("deb").hex().upper()),
    "two-executables": at("builds", 0, "outputs", 0, role="executable"),
    "two-plugins": at("builds", 0, "outputs", 0, role="plugin"),
    "closure-relative": at("closure", 0, path="lib64/ld.so"),
    "closure-version-alone": at("closure", 0, package=None),
    "closure-out-of-order": reverse("closure"),
    **{f"output-{name}": at("builds", 0, "outputs", 0, name=path) for name, path in ESCAPES.items()},
    **{f"recipe-file-{name}": at("builds", 0, "recipe_files", 0, name=path) for name, path in ESCAPES.items()},
    **{f"source-file-{name}": at("builds", 0, "source", "files", 0, name=path) for name, path in ESCAPES.items()},
    "output-backslash": at("builds", 0, "outputs", 0, name="a\\b"),
    "output-option": at("builds", 0, "outputs", 0, name="-rf"),
    "output-line-feed": at("builds", 0, "outputs", 0, name="a\nb"),
}
STATEMENT_CHANGES: dict[str, Change] = {
    "version-2": lambda value: value.update(version=2),
    "rebuilder-empty": lambda value: value.update(rebuilder=""),
    "manifest-short": lambda value: value.update(manifest="00"),
    "date-without-zone": lambda value: value.update(date="2025-05-28"),
    "no-build": lambda value: value.update(builds=[]),
    "builds-out-of-order": reverse("builds"),
    "no-output": at("builds", 0, outputs=[]),
    "outputs-out-of-order": reverse("builds", 0, "outputs"),
    "equality-unknown": at("builds", 0, "outputs", 0, equality="similar"),
    "missing-with-a-hash": at("builds", 0, "outputs", 0, equality="missing"),
    "identical-without-a-hash": at("builds", 0, "outputs", 0, sha256=None),
    "sections-of-what-is-identical": at("builds", 0, "outputs", 0, without=[".comment"]),
    "no-sections": at("builds", 0, "outputs", 0, equality="identical-without"),
    "sections-out-of-order": at("builds", 0, "outputs", 0, equality="identical-without", without=[".b", ".a"]),
    "root-without-packages": at("builds", 0, root={"distribution": "debian"}),
    "output-parent": at("builds", 0, "outputs", 0, name="../a"),
}
FOREIGN_CHANGES: dict[str, Change] = {
    "another": lambda value: value.update(manifest=sha256("another").hex()),
    "build-it-lacks": at("builds", 1, name="tracker"),
    "output-it-lacks": at("builds", 1, "outputs", 0, name="another.so"),
    "output-left-out": lambda value: value["builds"][0]["outputs"].pop(),
    "identical-and-another-hash": at("builds", 0, "outputs", 1, sha256=sha256("another").hex()),
    "identical-and-another-size": at("builds", 0, "outputs", 1, size=1),
    "different-and-the-same-hash": at("builds", 0, "outputs", 1, equality="different"),
}


def refused_statements() -> dict[str, bytes]:
    good = signed_statement(broker())
    made = envelope_cases(good, "application/vnd.sigillo.build-manifest+json")
    made["a-manifest"] = broker()
    for name, change in STATEMENT_CHANGES.items():
        made[name] = changed(good, rebuild.KIND, "rebuilder", change)
    return made


def foreign() -> dict[str, bytes]:
    """Statements that are readable, and not about this manifest as they say."""
    good = signed_statement(broker())
    return {name: changed(good, rebuild.KIND, "rebuilder", change) for name, change in FOREIGN_CHANGES.items()}
