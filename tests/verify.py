"""`make verify`: what takes minutes, or an environment of its own. One line in CHECKS each.

A check whose environment cannot be had is skipped, and the summary says so. All run, whatever fails before them.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
PYTEST = f"{BIN}/python -m pytest -rs"


class Result(StrEnum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the summary.

    Attributes:
        name: What it proves.
        command: What is run in the repository; exit code 0 passes.
        needs: Makes its environment ready. Returns what is missing, in words; an empty text when all is there.
    """

    name: str
    command: str
    needs: Callable[[], str] = str


def debian(package: str) -> Callable[[], str]:
    """A program of the same name as its Debian package, which is installed where we may."""

    def make_ready() -> str:
        if shutil.which(package):
            return ""
        if os.geteuid() != 0 or not shutil.which("apt-get"):
            return f"{package} is not on the PATH, and only root on Debian can install it"
        install = f"apt-get update -qq && apt-get install -qq -y --no-install-recommends {package}"
        done = subprocess.run(["sh", "-c", install], stdout=subprocess.DEVNULL, check=False)  # noqa: S603, S607 - ours
        return "" if done.returncode == 0 and shutil.which(package) else f"{package} could not be installed by apt-get"

    return make_ready


CHECKS = (
    Check("figures on all labelled sets here", f"{BIN}/treeline quality"),
    Check("the learning loop, both endings", "make --no-print-directory learn"),
    Check("commands over whole histories, and the Python API", f"{PYTEST} -n 2 tests/offline"),
    Check("the dashboards in a browser", f"{PYTEST} tests/deployed/test_dashboard_page.py", debian("chromium")),
    # All of tests/deployed, its faults once more: only then is the recording of AWS calls compared call by call.
    Check("the embedded cloud and all deployments", f"{PYTEST} -n 2 --dist loadgroup tests/emulator tests/deployed"),
)


def run(check: Check) -> tuple[Result, float, str]:
    """How it ended, after how many seconds, and what was missing."""
    print(f"\n== {check.name}: {check.command.replace(f'{BIN}/', '')}", flush=True)
    began = time.monotonic()
    if missing := check.needs():
        print(f"SKIPPED: {missing}", flush=True)
        return Result.SKIPPED, time.monotonic() - began, missing
    code = subprocess.run(check.command.split(), cwd=ROOT, check=False).returncode  # noqa: S603 - from CHECKS
    return Result.PASSED if code == 0 else Result.FAILED, time.monotonic() - began, ""


def main(checks: tuple[Check, ...] = CHECKS) -> int:
    """Run all and sum up; the exit code is 1 where one failed."""
    results = [run(check) for check in checks]
    print()
    for check, (result, seconds, missing) in zip(checks, results, strict=True):
        print(f"  {result:<8}{seconds:>5.0f} s  {check.name}{': ' + missing if missing else ''}")
    count = {wanted: sum(result is wanted for result, _, _ in results) for wanted in Result}
    print(", ".join(f"{number} {result}" for result, number in count.items()))
    return 1 if count[Result.FAILED] else 0


if __name__ == "__main__":
    sys.exit(main())
