"""Which tests have ended, and how: known to all workers of a session."""

import json
import os
from pathlib import Path

import pytest


class Ended:
    """A pytest plugin that notes, in the recording's folder, each test that ended on this worker.

    Args:
        folder: Shared by the workers.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / f"ended-{os.getpid()}.jsonl"
        self._failed = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One line when a test is over, its teardown included."""
        self._failed = self._failed or report.failed
        if report.when == "teardown":
            line = json.dumps({"test": report.nodeid, "failed": self._failed})
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
            self._failed = False


def ended(folder: Path) -> dict[str, bool]:
    """Test -> whether it failed, of all workers."""
    found: dict[str, bool] = {}
    for path in folder.glob("ended-*.jsonl"):
        for line in path.read_text(encoding="utf-8").split("\n")[:-1]:  # a line being written is not there yet
            note = json.loads(line)
            found[note["test"]] = note["failed"]
    return found
