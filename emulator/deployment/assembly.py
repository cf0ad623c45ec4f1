"""Read a synthesized CDK cloud assembly: its stacks in order of deployment, and the files they need."""

import functools
import io
import json
import zipfile
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from emulator.loopback.environment import ACCOUNT_ID, REGION
from treeline.core.errors import UsageError

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the oldest time a zip can hold; the same bytes every time


@dataclass(frozen=True, slots=True)
class FileAsset:
    """One file or folder to upload before the stacks that name it."""

    path: Path
    bucket: str
    key: str
    is_folder: bool

    def content(self) -> bytes:
        """The bytes to upload; a folder becomes a zip that depends on nothing but its files."""
        return _zipped(self.path, self.key) if self.is_folder else self.path.read_bytes()


@dataclass(frozen=True, slots=True)
class StackTemplate:
    """A stack as the assembly describes it."""

    name: str
    template_path: Path
    dependencies: tuple[str, ...]
    parameters: dict[str, str]
    tags: dict[str, str]

    def resources(self) -> dict[str, dict[str, Any]]:
        """Logical id to resource."""
        template = json.loads(self.template_path.read_text())
        return dict(template.get("Resources", {}))


@dataclass(frozen=True, slots=True)
class CloudAssembly:
    """Stacks (those another depends on first) and file assets."""

    stacks: tuple[StackTemplate, ...]
    assets: tuple[FileAsset, ...]


def read_assembly(directory: Path) -> CloudAssembly:
    """Read `directory`/manifest.json and what it names, nested assemblies (stages) included.

    Raises:
        UsageError: No assembly there.
    """
    manifest = directory / "manifest.json"
    if not manifest.is_file():
        raise UsageError(f"{directory} is not a cloud assembly: it has no manifest.json")
    stacks: dict[str, StackTemplate] = {}
    assets: list[FileAsset] = []
    _collect(directory, stacks, assets)
    return CloudAssembly(tuple(_in_order(stacks)), tuple(dict.fromkeys(assets)))


def _collect(directory: Path, stacks: dict[str, StackTemplate], assets: list[FileAsset]) -> None:
    artifacts = json.loads((directory / "manifest.json").read_text()).get("artifacts", {})
    for artifact_id, artifact in artifacts.items():
        properties = artifact.get("properties", {})
        match artifact["type"]:
            case "aws:cloudformation:stack":
                stacks[artifact_id] = StackTemplate(
                    name=properties.get("stackName", artifact_id),
                    template_path=directory / properties["templateFile"],
                    dependencies=tuple(artifact.get("dependencies", ())),
                    parameters=dict(properties.get("parameters", {})),
                    tags=dict(properties.get("tags", {})),
                )
            case "cdk:asset-manifest":
                assets.extend(_file_assets(directory, json.loads((directory / properties["file"]).read_text())))
            case "cdk:cloud-assembly":
                _collect(directory / properties["directoryName"], stacks, assets)


def _file_assets(directory: Path, manifest: dict[str, Any]) -> list[FileAsset]:
    if manifest.get("dockerImages"):
        raise UsageError("the assembly has container images; there is no container engine in the embedded cloud")
    return [
        FileAsset(
            path=directory / asset["source"]["path"],
            bucket=fill(destination["bucketName"]),
            key=fill(destination["objectKey"]),
            is_folder=asset["source"].get("packaging") == "zip" and (directory / asset["source"]["path"]).is_dir(),
        )
        for asset in manifest.get("files", {}).values()
        for destination in asset["destinations"].values()
    ]


def fill(text: str) -> str:
    """Put account, region and partition in place of the CDK's placeholders."""
    for name, value in (("AccountId", ACCOUNT_ID), ("Region", REGION), ("Partition", "aws")):
        text = text.replace(f"${{AWS::{name}}}", value)
    return text


def _in_order(stacks: dict[str, StackTemplate]) -> list[StackTemplate]:
    needed = {name: [other for other in stack.dependencies if other in stacks] for name, stack in stacks.items()}
    try:
        return [stacks[name] for name in TopologicalSorter(needed).static_order()]
    except CycleError as error:
        raise UsageError(f"the stacks of the assembly depend on each other in a circle: {error.args[1]}") from error


@functools.lru_cache(maxsize=64)
def _zipped(folder: Path, key: str) -> bytes:
    """Zipped once: the key is the hash of what is in the folder, and most deploys of a process are of one assembly."""
    return zip_folder(folder)


def zip_folder(folder: Path) -> bytes:
    """A zip of `folder` with sorted names, fixed times and modes: the same files give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix != ".pyc"):
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _EPOCH)
            entry.external_attr = (0o755 if path.stat().st_mode & 0o100 else 0o644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes())
    return buffer.getvalue()
