"""`make test` and `make verify` prove everything between them, and a person, CI and the README run the same two."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests import verify
from tests.verify import CHECKS, Check, main

ROOT = Path(__file__).resolve().parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()


def test_ci_runs_the_two_commands_and_nothing_else():
    script = (ROOT / ".ci" / "run").read_text().splitlines()
    commands = [line for line in script if line and not line.startswith(("#", "set ", "cd "))]
    assert commands == ["make test", "make verify"]
    readme = (ROOT / "README.md").read_text()
    assert all(f"$ {command} " in readme for command in commands)


def test_every_test_is_in_one_of_them():
    recipes = [line for line in MAKEFILE.splitlines() if "WRITE_RECORDING" not in line]
    named = set(re.findall(r"\btests/[\w/.]+", " ".join([*recipes, *(check.command for check in CHECKS)])))
    named -= {"tests/verify.py"}
    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("test_*.py")}
    left_out = {f for f in files if not any(f == name or f.startswith(f"{name}/") for name in named)}
    assert left_out == set()
    assert {name for name in named if not (ROOT / name).exists()} == set()


def test_a_failure_ends_neither_the_other_checks_nor_unseen(capfd):
    python = sys.executable
    passes, fails = Check("passes", f"{python} -c pass"), Check("fails", f"{python} -c 1/0")
    lacks = Check("lacks", f"{python} -c pass", lambda: "no such machine")

    assert main((fails, lacks, passes)) == 1
    out = capfd.readouterr().out
    assert [line.split()[0] for line in out.splitlines()[-4:]] == ["failed", "skipped", "passed", "1"]
    assert out.splitlines()[-1] == "1 passed, 1 failed, 1 skipped"
    assert "lacks: no such machine" in out
    assert main((passes, lacks)) == 0


def test_a_program_that_cannot_be_had_is_named(monkeypatch):
    assert verify.debian("sh")() == ""
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert "no-such-browser is not on the PATH" in verify.debian("no-such-browser")()


def run_pytest(folder, tests, *options):
    """A file of tests under this repository's conftest, in a process of its own."""
    shutil.copy(ROOT / "tests" / "conftest.py", folder)
    (folder / "test_some.py").write_text(tests)
    settings = ["-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml"), f"--rootdir={folder}"]
    command = [sys.executable, "-m", "pytest", *settings, *options, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own tests
    return done.stdout + done.stderr


def test_who_is_slow_without_a_reason_is_listed_and_a_reason_must_be_one(tmp_path):
    tests = "import pytest\ndef test_a(): pass\n@pytest.mark.slow('one deployment')\ndef test_b(): pass\n"
    out = run_pytest(tmp_path, tests, "--explain-over", "0")
    assert "test_a: 0 s" in out
    assert "test_b" not in out
    assert "test_b: slow needs its reason" in run_pytest(tmp_path, tests.replace("('one deployment')", ""))
