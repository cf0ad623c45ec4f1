"""What a function's zip holds: `treeline`, its own handler, the third-party packages it asks for."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from treeline.core.errors import SettingsError, TreelineError

ROOT = Path(__file__).resolve().parents[2]
BUILD_FOLDER = ROOT / "build" / "functions"
REQUIREMENTS = ROOT / "requirements" / "lambda.txt"
PYTHON_VERSION = "3.13"
# Lambda's python3.13 runs on Amazon Linux 2023 (glibc 2.34), so every older manylinux wheel fits.
PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64")
# Part of every asset's hash: raise it when the same inputs are to give other contents.
LAYOUT_VERSION = "1"
# Powertools imports these two; the closure is spelled out because each package is installed on its own.
POWERTOOLS = ("aws-lambda-powertools", "jmespath", "typing-extensions")

# Never needed to run: tests, headers and static libraries, type stubs, the Fortran bridge, installer's notes.
_STRIPPED_FOLDERS = frozenset({"__pycache__", "tests", "include", "f2py", "_pyinstaller", "bin"})
_STRIPPED_SUFFIXES = (".pyc", ".pyi", ".a", ".h", ".pxd", ".c")
_STRIPPED_NAMES = frozenset({"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"})


class AssetPlatform(StrEnum):
    """Where a function will run."""

    LAMBDA = "lambda"  # arm64 wheels inside the zip
    HOST = "host"  # the embedded cloud's interpreter, which has the packages

    @classmethod
    def named(cls, name: str) -> "AssetPlatform":
        """The platform of that name; raises SettingsError for another one."""
        try:
            return cls(name)
        except ValueError as error:
            known = " or ".join(cls)
            raise SettingsError(f"asset_platform must be {known}, got {name!r}") from error


class PackagingError(TreelineError):
    """A function's third-party packages could not be fetched or are not pinned."""


@dataclass(frozen=True, slots=True)
class Pin:
    """One pinned requirement as it stands in lambda.txt."""

    name: str
    version: str
    block: str  # the lines, hashes included


def read_pins(path: Path = REQUIREMENTS) -> dict[str, Pin]:
    """The pins of a hashed requirements file by package name."""
    pins: dict[str, Pin] = {}
    text = re.sub(r"^\s*#.*\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for block in re.findall(r"^\S.*(?:\n[ \t]+\S.*)*", text, flags=re.MULTILINE):
        match = re.match(r"([A-Za-z0-9._-]+)==([^\s;\\]+)", block)
        if match is None or "--hash=sha256:" not in block:
            raise PackagingError(f"{path.name}: not a pinned and hashed requirement: {block.splitlines()[0]!r}")
        pins[match[1].lower()] = Pin(match[1].lower(), match[2], block + "\n")
    return pins


def source_files(name: str, *, root: Path = ROOT) -> list[Path]:
    """Our own files in the zip of function `name`, relative to the repository, sorted."""
    folder = root / "lambdas" / name
    if not folder.is_dir():
        raise SettingsError(f"no folder lambdas/{name}")
    candidates = [root / "lambdas" / "__init__.py", *folder.rglob("*"), *(root / "treeline").rglob("*")]
    kept = (p for p in candidates if p.is_file() and not _is_stripped(p.relative_to(root)))
    return sorted(p.relative_to(root) for p in kept)


def assemble(
    name: str, packages: Sequence[str], platform: AssetPlatform, *, root: Path = ROOT, build_folder: Path = BUILD_FOLDER
) -> tuple[Path, str]:
    """Lay out the zip of function `name`; returns the folder and the hash of everything that went into it.

    The hash is made of our files and the pins, never of times or paths, so an unchanged function is not
    deployed again; the folder is made once a hash. No Docker is involved.
    """
    pins = read_pins(root / "requirements" / "lambda.txt") if platform is AssetPlatform.LAMBDA else {}
    wanted: list[Pin] = []
    for package in sorted(packages) if pins else ():
        if package not in pins:
            raise PackagingError(f"function {name} asks for {package}, which requirements/lambda.txt does not pin")
        wanted.append(pins[package])
    # Read once: what is hashed is what is written, also while somebody edits.
    files = {path.as_posix(): (root / path).read_bytes() for path in source_files(name, root=root)}
    digest = _digest(platform, files, wanted)

    target = build_folder / f"{name}-{platform.value}-{digest[:16]}"
    if not target.is_dir():
        with _staged(target) as staging:
            for pin in wanted:
                shutil.copytree(_installed(pin, build_folder), staging, dirs_exist_ok=True, copy_function=_link_or_copy)
            for path, content in files.items():
                (staging / path).parent.mkdir(parents=True, exist_ok=True)
                (staging / path).write_bytes(content)
    return target, digest


def strip(folder: Path) -> None:
    """Remove from an installed package what no function needs to run."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if _is_stripped(path.relative_to(folder)):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _is_stripped(path: Path) -> bool:
    return (
        not _STRIPPED_FOLDERS.isdisjoint(path.parts)
        or path.name.endswith(_STRIPPED_SUFFIXES)
        or (path.parent.name.endswith(".dist-info") and path.name in _STRIPPED_NAMES)
    )


def _digest(platform: AssetPlatform, files: Mapping[str, bytes], pins: Iterable[Pin]) -> str:
    digest = hashlib.sha256(f"{LAYOUT_VERSION}\0{platform.value}\0{PYTHON_VERSION}\0".encode())
    for name, content in files.items():
        digest.update(f"{name}\0{hashlib.sha256(content).hexdigest()}\0".encode())
    for pin in pins:
        digest.update(f"{pin.block}\0".encode())
    return digest.hexdigest()


def _link_or_copy(source: str, target: str) -> None:
    """50 MB of numpy for every change of our own code add up; a link takes no room."""
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copy2(source, target)


def _installed(pin: Pin, build_folder: Path) -> Path:
    """One package, unpacked for Lambda and stripped; kept between functions and runs."""
    digest = hashlib.sha256(f"{LAYOUT_VERSION}\0{PYTHON_VERSION}\0{PLATFORMS}\0{pin.block}".encode()).hexdigest()
    target = build_folder / "packages" / f"{pin.name}-{pin.version}-{digest[:16]}"
    if not target.is_dir():
        with _staged(target) as staging:
            requirements = staging.with_name(f"{staging.name}.txt")  # a version has dots: with_suffix would cut it
            requirements.write_text(pin.block, encoding="utf-8")
            try:
                _pip_install(requirements, staging)
            finally:
                requirements.unlink()
            strip(staging)
    return target


def _pip_install(requirements: Path, target: Path) -> None:
    platforms = [argument for platform in PLATFORMS for argument in ("--platform", platform)]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--no-deps", "--no-compile", "--only-binary=:all:", "--require-hashes", "--target", str(target)]
    # The pins were resolved for Lambda's Python; pip would also ask whether they suit the one that runs it.
    command += ["--ignore-requires-python", "--implementation", "cp", "--python-version", PYTHON_VERSION, *platforms]
    result = subprocess.run(  # noqa: S603 -- our own interpreter, no shell, no outside input
        [*command, "--requirement", str(requirements)], capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        raise PackagingError(f"pip could not fetch the packages of {requirements.name}:\n{result.stderr.strip()}")


class _staged:  # noqa: N801 -- read as a verb: with _staged(target) as folder
    """A folder that becomes `target` when the block succeeds; of two processes that race, either may win."""

    def __init__(self, target: Path) -> None:
        self._target = target

    def __enter__(self) -> Path:
        self._target.parent.mkdir(parents=True, exist_ok=True)
        self._folder = Path(tempfile.mkdtemp(prefix=f".{self._target.name}-", dir=self._target.parent))
        return self._folder

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None and not self._target.exists():
            self._folder.chmod(0o755)
            try:
                os.rename(self._folder, self._target)
            except OSError:
                if not self._target.is_dir():
                    raise
        shutil.rmtree(self._folder, ignore_errors=True)


def contents(folder: Path) -> Iterator[str]:
    """Paths of the files below an asset folder, relative, sorted."""
    return iter(sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()))
