"""The software bill of materials of a release: CycloneDX 1.6, by the library of that name, the same bytes each time."""

from __future__ import annotations

import datetime
import json
import uuid
from collections.abc import Iterable, Iterator
from itertools import groupby

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

from sigillo.core.manifest import Build, ClosureFile, SignedManifest

_NAMESPACE = uuid.UUID("5a4fd0a6-3c0b-5b5c-9d1e-6f1f3c0f7d55")


def sbom(signed: SignedManifest) -> bytes:
    """All that the broker's process loads: what was built, and the closure by the packages its files are from."""
    manifest = signed.manifest
    distribution = manifest.builds[0].root.distribution
    architecture = manifest.builds[0].root.architecture
    main = Component(
        name=" + ".join(build.name for build in manifest.builds),
        type=ComponentType.APPLICATION,
        bom_ref=f"manifest:{signed.sha256.hex()}",
    )
    built = [_built(build) for build in manifest.builds]
    loaded = list(_packages(manifest.closure, distribution, architecture))
    made = datetime.datetime.fromtimestamp(max(build.build_date for build in manifest.builds), datetime.UTC)
    bom = Bom(
        components=[*built, *loaded],
        metadata=BomMetaData(component=main, timestamp=made),
        serial_number=uuid.uuid5(_NAMESPACE, signed.sha256.hex()),
    )
    bom.register_dependency(main, [*built, *loaded])
    text = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string()
    return (json.dumps(json.loads(text), indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _built(build: Build) -> Component:
    outputs = (_file(output.name, output.sha256, f"{build.name}/{output.name}") for output in build.outputs)
    return Component(
        name=build.name,
        version=build.version,
        type=ComponentType.APPLICATION,
        bom_ref=f"build:{build.name}",
        components=outputs,
    )


def _packages(closure: Iterable[ClosureFile], distribution: str, architecture: str) -> Iterator[Component]:
    """A library for each package, with its files in it; files of none by themselves."""
    by_package = sorted(closure, key=_package)
    for (name, version), files in groupby(by_package, key=_package):
        components = [_file(file.path, file.sha256, file.path) for file in files]
        if not name:
            yield from components
            continue
        purl = PackageURL("deb", distribution, name, version, {"arch": architecture})
        yield Component(
            name=name,
            version=version,
            type=ComponentType.LIBRARY,
            bom_ref=purl.to_string(),
            purl=purl,
            components=components,
        )


def _package(file: ClosureFile) -> tuple[str, str]:
    return file.package or "", file.version or ""


def _file(name: str, sha256: bytes, reference: str) -> Component:
    hashes = [HashType(alg=HashAlgorithm.SHA_256, content=sha256.hex())]
    return Component(name=name, type=ComponentType.FILE, bom_ref=f"file:{reference}", hashes=hashes)
