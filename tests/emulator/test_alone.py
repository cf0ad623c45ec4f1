"""The emulator is a package of its own: it may use our forest and our errors, and nothing else of the repository."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
IMPORT_ALL = """
import importlib, os, pkgutil, sys
import treeline.core, treeline.forest
ALLOWED = ("treeline", "treeline.core", "treeline.core.errors", "treeline.forest")
OURS = ("treeline", "lambdas", "training", "stacks", "cli", "pricing", "demo", "report", "benchmarks", "tests")

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in OURS and name not in ALLOWED and not name.startswith("treeline.forest."):
            raise ImportError(f"the emulator needs {name}")

sys.meta_path.insert(0, Blocked())
from emulator.loopback.environment import server_environment
os.environ |= server_environment(0, os.environ["TMPDIR"])
import emulator
for module in pkgutil.walk_packages(emulator.__path__, "emulator."):
    print(importlib.import_module(module.name).__name__)
os._exit(0)  # ministack's threads
"""


def test_every_module_is_importable_without_the_rest_of_the_repository(tmp_path: Path) -> None:
    run = subprocess.run(  # noqa: S603 -- our own code
        [sys.executable, "-c", IMPORT_ALL],
        cwd=ROOT,
        env={"PATH": "", "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    imported = set(run.stdout.split())
    files = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in (ROOT / "emulator").rglob("*.py")
    }
    assert imported == files - {"emulator"}
