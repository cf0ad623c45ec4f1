"""Imports point one way, and what runs in a Lambda function stays small."""

import ast
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = {
    *(
        "treeline",
        "lambdas",
        "training",
        "stacks",
        "cli",
        "pricing",
        "emulator",
        "demo",
        "report",
        "benchmarks",
        "tests",
    )
}
HEAVY = {"pandas", "scipy", "numba", "aws_cdk", "pyarrow", "ministack"}

# Which of our own packages each room may import, and nothing beyond.
LAYERS = {
    "treeline/core": {"treeline.core"},
    "treeline/forest": {"treeline.forest", "treeline.core.errors"},
    "treeline/sources": {"treeline.sources", "treeline.core"},
    "treeline/settings": {"treeline.settings", "treeline.core"},
    "treeline/app": {"treeline.app", "treeline.core"},
    "treeline/aws": {"treeline.aws", "treeline.app", "treeline.core"},
    "treeline/receivers": {"treeline.receivers", "treeline.aws", "treeline.app", "treeline.core"},
    "treeline/wiring": {"treeline"},
    "treeline/api.py": {"treeline.app", "treeline.forest", "treeline.core"},
    "lambdas": {"lambdas", "treeline"},
    "training": {"training", "treeline"},
    "stacks": {
        "stacks",
        "treeline.app.metrics",
        "treeline.settings",
        "treeline.app.promote.protocol",  # the state machine is made from it
        "treeline.core.errors",
        "treeline.core.profile",
        "treeline.core.detection.scorer_row",
        "treeline.core.detection.policy_settings",
        "treeline.core.expectation.rolling_limits",
        "treeline.core.setting",
    },
    "pricing": {"pricing", "treeline.core"},
    "report": {"report", "training", "treeline.core"},
    "emulator": {"emulator", "treeline.forest", "treeline.core.errors"},
    "demo": {"demo", "report", "emulator", "training", "stacks", "treeline"},
    "cli": {"cli", "pricing", "demo", "report", "emulator", "training", "stacks", "treeline"},
    "benchmarks": {"benchmarks", "demo", "emulator", "training", "stacks", "treeline"},
}
# The hot path: neither heavy nor slow to import. numpy only where the mathematics is.
LIGHT = ("treeline", "lambdas")
# numba where a forest is walked faster with it, imported when it is about to be used.
HEAVY_ALLOWED = {"treeline/forest/compiled.py": {"numba"}}


def modules(room):
    return [ROOT / room] if room.endswith(".py") else sorted((ROOT / room).rglob("*.py"))


def imported(path):
    """Dotted names a module imports at any depth of its code, type-checking blocks left out."""
    tree = ast.parse(path.read_text())
    hidden = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for child in node.body
        for inner in ast.walk(child)
    }
    names = set()
    for node in ast.walk(tree):
        if node in hidden:
            continue
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def is_within(name, package):
    return name == package or name.startswith(package + ".")


@pytest.mark.parametrize("folder", LAYERS)
def test_imports_point_one_way(folder):
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules(folder)
        for name in sorted(imported(path))
        if name.split(".")[0] in OURS
        and name != "treeline.__version__"
        and not any(is_within(name, package) for package in LAYERS[folder])
    ]
    assert wrong == []


def test_every_room_has_its_rule():
    files = {path.relative_to(ROOT).parts for path in ROOT.glob("*/**/*.py")}
    code = {parts[:2] if parts[0] == "treeline" else parts[:1] for parts in files if parts[0] in OURS - {"tests"}}
    # The package says its name and version; the command leads to `cli`, which is outside what is zipped.
    assert {"/".join(room) for room in code} - {"treeline/__init__.py", "treeline/__main__.py"} == set(LAYERS)


def test_no_folder_imports_one_that_imports_it():
    """Not even by a detour: what can be read, tested and replaced by itself stays so."""
    folders: dict[str, set[str]] = {}
    for path in (path for folder in LAYERS for path in modules(folder)):
        own = path.parent.relative_to(ROOT)
        for name in imported(path):
            module = ROOT / name.replace(".", "/")
            found = next((p for p in (module, module.parent) if p.with_suffix(".py").is_file()), None)
            if found is not None and found.parent.relative_to(ROOT) != own:
                folders.setdefault(str(own), set()).add(str(found.parent.relative_to(ROOT)))
    assert len(folders) > 30
    TopologicalSorter(folders).prepare()  # raises CycleError, which names the folders


@pytest.mark.parametrize("folder", LIGHT)
def test_the_hot_path_imports_nothing_heavy(folder):
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules(folder)
        for name in imported(path)
        if name.split(".")[0] in HEAVY - HEAVY_ALLOWED.get(str(path.relative_to(ROOT)), set())
    ]
    assert wrong == []


def test_the_core_knows_no_cloud_no_clock_and_no_chance():
    wrong = [
        f"{path.name} imports {name}"
        for path in modules("treeline/core")
        for name in imported(path)
        if name.split(".")[0] in {"boto3", "botocore", "aws_lambda_powertools", "os", "time", "random", "socket"}
    ]
    assert wrong == []


HANDLERS = sorted(path.parent.name for path in (ROOT / "lambdas").glob("*/handler.py"))


@pytest.mark.parametrize("name", HANDLERS)
def test_a_handler_decodes_delegates_and_answers(name):
    """What is decided stands in treeline/app, what is put together in treeline/wiring/<name>.py."""
    path = ROOT / "lambdas" / name / "handler.py"
    assert len(path.read_text().splitlines()) <= 50
    assert {p.name for p in path.parent.glob("*.py")} == {"__init__.py", "handler.py"}
    assert f"treeline.wiring.{name}.wired" in imported(path)


@pytest.mark.parametrize("name", HANDLERS)
def test_importing_a_handler_loads_nothing_heavy(name):
    """Also through third-party packages; each in a process of its own. A forest only where the settings embed it."""
    loaded = f"(m for m in sys.modules if m in {HEAVY!r} or m.startswith('treeline.forest'))"
    code = f"import sys, lambdas.{name}.handler; print(*sorted{loaded})"
    command = [sys.executable, "-c", code]
    out = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603 - our own code
    assert out.stdout.split() == []


def test_every_cdk_module_our_stacks_use_is_type_checked():
    """mypy leaves the other modules of the CDK out: what a stack names of them would be Any without a word."""
    overrides = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]["overrides"]
    (followed,) = [set(rule["module"]) for rule in overrides if rule.get("follow_imports") == "normal"]
    used = set()
    for path in (ROOT / "app.py", *modules("stacks")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                used |= {alias.name for alias in node.names if alias.name.split(".")[0] == "aws_cdk"}
            elif isinstance(node, ast.ImportFrom) and node.module == "aws_cdk":
                used |= {f"aws_cdk.{alias.name}" for alias in node.names if alias.name.startswith("aws_")}
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("aws_cdk."):
                used.add(node.module)
    assert len(used) > 15
    assert used - followed == set()


# A name that two classes may share, with the reason.
SHARED_NAMES: dict[str, str] = {}


def test_a_class_name_means_one_thing():
    homes: dict[str, list[str]] = {}
    for path in (path for folder in LAYERS for path in modules(folder)):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(f"{path.relative_to(ROOT)}:{node.lineno}")
    shared = {name: where for name, where in homes.items() if len(where) > 1 and name not in SHARED_NAMES}
    assert shared == {}
