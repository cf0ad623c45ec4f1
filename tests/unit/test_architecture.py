"""Imports point one way, and what runs in a Lambda function stays small (DESIGN, section 7)."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = {"treeline", "lambdas", "training", "stacks", "local", "benchmarks", "tests"}
HEAVY = {"pandas", "scipy", "numba", "aws_cdk", "pyarrow", "ministack"}

# Which of our own packages each layer may import, and nothing beyond.
LAYERS = {
    "treeline/core": {"treeline.core"},
    "treeline/forest": {"treeline.forest", "treeline.core.errors"},
    "treeline/app": {"treeline.app", "treeline.core"},
    "treeline/aws": {"treeline.aws", "treeline.app", "treeline.core"},
    "lambdas": {"lambdas", "treeline.aws", "treeline.app", "treeline.core"},
    "training": {"training", "treeline.core", "treeline.app", "treeline.aws", "treeline.forest"},
    "stacks": {
        "stacks",
        "treeline.app.settings",
        "treeline.app.policy_text",
        "treeline.app.learning_settings",
        "treeline.app.promotion_settings",
        "treeline.app.widget_settings",
        "treeline.core.drift",
        "treeline.core.policy",
        "treeline.core.profile",
        "treeline.core.errors",
    },
}
# The hot path: neither heavy nor slow to import. numpy only where the mathematics is.
LIGHT = ("treeline/core", "treeline/app", "treeline/aws", "lambdas")


def modules(folder):
    return sorted((ROOT / folder).rglob("*.py"))


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


def test_nothing_but_the_command_imports_local():
    wrong = [
        str(path.relative_to(ROOT))
        for folder in LAYERS
        for path in modules(folder)
        for name in imported(path)
        if is_within(name, "local")
    ]
    assert wrong == []


@pytest.mark.parametrize("folder", LIGHT)
def test_the_hot_path_imports_nothing_heavy(folder):
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules(folder)
        for name in imported(path)
        if name.split(".")[0] in HEAVY
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
def test_importing_a_handler_loads_nothing_heavy(name):
    """Also through third-party packages; each in a process of its own."""
    code = f"import sys, lambdas.{name}.handler; print(*sorted({HEAVY!r} & set(sys.modules)))"
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
