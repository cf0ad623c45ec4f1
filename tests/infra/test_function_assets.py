"""What goes into each function's zip, and that it is enough."""

import importlib.metadata
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stacks.constructs.function_asset import (
    POWERTOOLS,
    ROOT,
    AssetPlatform,
    PackagingError,
    assemble,
    contents,
    read_pins,
    strip,
)
from tests.infra.templates import Stage
from treeline.core.errors import SettingsError

FUNCTIONS = ("ingest", "dispatch", "detect", "reprocess", "notify_pagerduty")
CARRIED = {"aws_lambda_powertools", "jmespath", "typing_extensions.py"}
# What the python3.13 runtime brings: boto3 and what it stands on.
RUNTIME = {"boto3", "botocore", "s3transfer", "urllib3", "dateutil", "six", "jmespath"}
# botocore takes its certificates from it where it is installed.
RUNTIME |= {"certifi"}
PRINT_THIRD_PARTY = """
import importlib, sys
before = set(sys.modules)
importlib.import_module("lambdas.{name}.handler")
files = {{m.split(".")[0]: getattr(sys.modules[m], "__file__", None) or "" for m in set(sys.modules) - before}}
print(" ".join(sorted(m for m, f in files.items() if "site-packages" in f)))
print(sys.modules["treeline"].__file__)
"""


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_zip_holds_its_own_handler_and_only_the_packages_it_asks_for(stage: Stage, name: str):
    names = {p.name for p in stage.asset(name).iterdir() if not p.name.endswith(".dist-info")}
    own = {"numpy", "numpy.libs", "tzdata"} if name == "detect" else set()

    assert names == {"treeline", "lambdas", *CARRIED, *own}
    assert {p.name for p in (stage.asset(name) / "lambdas").iterdir()} == {"__init__.py", name}
    assert not (stage.asset(name) / "treeline" / "cli").exists()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_zip_carries_no_tests_and_no_caches(stage: Stage, name: str):
    files = list(contents(stage.asset(name)))

    assert files
    assert not [f for f in files if "/tests/" in f or "__pycache__" in f or f.endswith((".pyc", ".pyi"))]


def test_compiled_code_is_for_lambdas_processor_and_python(stage: Stage):
    extensions = sorted((stage.asset("detect") / "numpy").rglob("*.so"))

    assert extensions
    assert {p.name.split(".", 1)[1] for p in extensions} == {"cpython-313-aarch64-linux-gnu.so"}
    assert extensions[0].read_bytes()[18:20] == b"\xb7\x00", "ELF machine must be AArch64"
    assert stage.function("detect")["Architectures"] == ["arm64"]
    assert stage.function("detect")["Runtime"] == "python3.13"


def test_zips_stay_small(stage: Stage):
    """Cold starts load them, and Lambda takes no more than 250 MB unpacked."""
    for name, limit_mb in (("detect", 60), ("ingest", 8)):
        size = sum(p.stat().st_size for p in stage.asset(name).rglob("*") if p.is_file())
        assert size < limit_mb * 1_000_000, name


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_handler_imports_from_its_zip_and_nothing_it_does_not_carry(local_stage: Stage, name: str):
    """A zip that misses a module fails in AWS only; one that pulls in pandas starts slowly."""
    asset = local_stage.asset(name)

    result = subprocess.run(  # noqa: S603 -- our own interpreter
        [sys.executable, "-c", PRINT_THIRD_PARTY.format(name=name)],
        cwd=asset,
        env={"PYTHONPATH": str(asset), "AWS_DEFAULT_REGION": "us-east-1", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stderr
    third_party, origin = result.stdout.splitlines()
    carried = {"aws_lambda_powertools", "jmespath", "typing_extensions"} | ({"numpy"} if name == "detect" else set())
    assert set(third_party.split()) <= carried | RUNTIME
    assert Path(origin).is_relative_to(asset)


def test_locally_a_zip_holds_our_own_code_only(local_stage: Stage):
    assert {p.name for p in local_stage.asset("detect").iterdir()} == {"treeline", "lambdas"}


def test_numpy_still_imports_when_stripped(tmp_path: Path):
    """Stripping is the same for every platform, so the host's numpy shows whether it went too far."""
    installed = Path(importlib.metadata.distribution("numpy").locate_file("numpy"))
    shutil.copytree(installed, tmp_path / "numpy", ignore=shutil.ignore_patterns("__pycache__"))
    libraries = installed.parent / "numpy.libs"
    if libraries.is_dir():
        shutil.copytree(libraries, tmp_path / "numpy.libs")
    strip(tmp_path)

    code = "import numpy as np, numpy.linalg, numpy.random; print(np.__file__, np.linalg.det(np.eye(2)))"
    result = subprocess.run(  # noqa: S603 -- our own interpreter
        [sys.executable, "-c", code], env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )

    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(str(tmp_path))
    assert not (tmp_path / "numpy" / "f2py").exists()


def test_functions_carry_versions_that_are_also_developed_with():
    """dev.txt may pin one more for older Pythons; a third one would be tested nowhere."""
    development = (ROOT / "requirements" / "dev.txt").read_text(encoding="utf-8")

    for pin in read_pins().values():
        assert re.search(rf"^{re.escape(pin.name)}=={re.escape(pin.version)}[ ;]", development, re.MULTILINE), pin.name


def test_pins_name_no_place_to_get_them_from():
    text = (ROOT / "requirements" / "lambda.txt").read_text(encoding="utf-8")

    assert "://" not in text
    assert all("--hash=sha256:" in pin.block for pin in read_pins().values())


def _repository(root: Path) -> Path:
    for name in ("lambdas/one/handler.py", "lambdas/two/handler.py", "treeline/core/a.py", "cli/main.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"# {name}\n", encoding="utf-8")
    (root / "lambdas" / "__init__.py").touch()
    (root / "treeline" / "core" / "__pycache__").mkdir()
    (root / "treeline" / "core" / "__pycache__" / "a.pyc").write_bytes(b"\0")
    (root / "requirements").mkdir()
    shutil.copyfile(ROOT / "requirements" / "lambda.txt", root / "requirements" / "lambda.txt")
    return root


def _assemble(root: Path, name: str = "one") -> tuple[Path, str]:
    return assemble(name, (), AssetPlatform.HOST, root=root, build_folder=root / "build")


def test_a_function_is_deployed_again_only_for_its_own_code_or_the_shared_one(tmp_path: Path):
    root = _repository(tmp_path)
    _, before = _assemble(root)

    (root / "lambdas" / "two" / "handler.py").write_text("# changed\n", encoding="utf-8")
    (root / "cli" / "main.py").write_text("# changed\n", encoding="utf-8")
    (root / "treeline" / "core" / "a.py").touch()
    (root / "treeline" / "core" / "__pycache__" / "a.pyc").write_bytes(b"\1")
    _, untouched = _assemble(root)
    (root / "treeline" / "core" / "a.py").write_text("# changed\n", encoding="utf-8")
    folder, after = _assemble(root)

    assert untouched == before
    assert after != before
    assert list(contents(folder)) == ["lambdas/__init__.py", "lambdas/one/handler.py", "treeline/core/a.py"]
    assert (folder / "treeline" / "core" / "a.py").read_text(encoding="utf-8") == "# changed\n"


def test_a_function_without_a_folder_is_refused(tmp_path: Path):
    with pytest.raises(SettingsError, match="no folder lambdas/three"):
        _assemble(_repository(tmp_path), "three")


def test_a_package_without_a_pin_is_refused():
    with pytest.raises(PackagingError, match=r"function detect asks for pandas, which requirements/lambda\.txt"):
        assemble("detect", (*POWERTOOLS, "pandas"), AssetPlatform.LAMBDA)


def test_a_requirement_without_a_hash_is_refused(tmp_path: Path):
    (tmp_path / "lambda.txt").write_text("numpy==2.4.6\n", encoding="utf-8")

    with pytest.raises(PackagingError, match="not a pinned and hashed requirement"):
        read_pins(tmp_path / "lambda.txt")
