"""docs/api.md as its reader would follow it: the wheel, numpy, and the example, in an interpreter that has no more."""

import json
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from email.parser import Parser
from pathlib import Path

import numpy as np
import pytest

from tests.unit.detection_fakes import fleet
from training.prepare.calibrating import calibrate_package
from training.prepare.preparation import prepare
from treeline.forest.forest import RandomCutForest
from treeline.forest.storage import write_model_tar

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs" / "api.md").read_text()
TRAIN, TEST = 1440, 40


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy: a build leaves folders beside what it builds."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(ROOT / "treeline", source / "treeline", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "training", source / "training", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*build, "-w", str(folder), str(source)], check=True)  # noqa: S603 - our own package
    (found,) = folder.glob("treeline-*.whl")
    return found


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory):
    """Runs code where the wheel and numpy are all that is installed; `-I -S` leaves out every other folder."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    packages = Path(np.__file__).parents[1]
    for name in ("numpy", "numpy.libs"):
        if (packages / name).exists():
            (folder / name).symlink_to(packages / name)

    def run(code, cwd):
        begin = f"import sys; sys.path.append({str(folder)!r})\n"
        command = [sys.executable, "-I", "-S", "-c", begin + code]
        return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)  # noqa: S603 - our own code

    return run


def test_a_wheel_is_treeline_alone_and_needs_numpy_alone(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = [archive.read(name).decode() for name in names if name.endswith(".dist-info/METADATA")]
    assert {name.split("/")[0].split("-")[0] for name in names} == {"treeline"}
    required = [line for line in Parser().parsestr(metadata).get_all("Requires-Dist", []) if "extra ==" not in line]
    assert [line.split(">")[0] for line in required] == ["numpy"]


def test_the_example_runs_with_the_wheel_and_numpy_alone(python, tmp_path):
    grid = fleet(10, TRAIN + TEST)
    grid.values[TRAIN + 20 :, 1, 1:] += 60.0
    prepared = prepare(replace(grid, times_ms=grid.times_ms[:TRAIN], values=grid.values[:TRAIN]), seed=1)
    forest = RandomCutForest.fit(prepared.training_rows, num_trees=10, num_samples_per_tree=64, seed=1)
    package = calibrate_package(
        prepared, forest.score, model_version="m1", samples_per_tree=forest.num_samples_per_tree
    )
    (tmp_path / "package.zip").write_bytes(package.to_bytes())
    (tmp_path / "model.tar.gz").write_bytes(write_model_tar(forest))
    with (tmp_path / "observations.jsonl").open("w") as lines:
        for t in range(TRAIN, TRAIN + TEST):
            for server, values in zip(grid.servers, grid.values[t].tolist(), strict=True):
                metrics = dict(zip(grid.metrics, values, strict=True))
                at = int(grid.times_ms[t])
                lines.write(json.dumps({"server_id": server, "observed_at_ms": at, "metrics": metrics}) + "\n")

    example = DOCUMENT.split("```python\n")[1].split("```")[0]
    done = python(example, tmp_path)
    assert done.stderr == ""
    shown = DOCUMENT.split("```text\n")[1].split("```")[0]
    assert [re.sub(r"[-+]?[0-9.]+", "#", line) for line in done.stdout.splitlines()] == [
        re.sub(r"[-+]?[0-9.]+", "#", line) for line in shown.splitlines()
    ]


def test_what_the_document_names_exists(python, tmp_path):
    code = """
import dataclasses, treeline
print(*sorted(field.name for field in dataclasses.fields(treeline.Decision)))
from treeline.core.detection.policy import Change
from treeline.core.alert import MetricEvidence
print(*(field.name for part in (Change, MetricEvidence) for field in dataclasses.fields(part)))
"""
    decision, parts = python(code, tmp_path).stdout.splitlines()
    table = [line for line in DOCUMENT.splitlines() if line.startswith("| `")]
    named = {name for line in table for name in line.split(" | ")[0].strip("| ").replace("`", "").split(", ")}
    assert named == set(decision.split())
    for field in ("event", "priority", "opened_at", "first_anomalous_at", "measured", "expected", "low", "high"):
        assert field in parts.split()
        assert f"`{field}`" in DOCUMENT


def test_the_command_of_a_wheel_says_where_it_comes_from(python, tmp_path):
    done = python("from treeline.__main__ import main; main()", tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "the command comes with the repository" in done.stderr
    here = [sys.executable, "-m", "treeline", "--version"]
    assert subprocess.run(here, capture_output=True, text=True, check=True).stdout.startswith("treeline ")  # noqa: S603
