"""The recording that the proof of permissions reads (tests/infra/test_permissions.py) is what the code does today.

Runs last of tests/local. `make permissions` runs the folder and writes the file anew.
"""

import os
from pathlib import Path

import pytest

from tests.infra.permissions import REFRESH, read_recording, recorded, write_recording

pytestmark = pytest.mark.cloud
REWRITE_VARIABLE = "TREELINE_WRITE_RECORDING"


def test_the_checked_in_recording_is_what_was_called(recording: Path, request: pytest.FixtureRequest):
    calls = recorded(recording)
    if os.environ.get(REWRITE_VARIABLE):
        # A session of a part of the folder adds what it saw, one of the whole also takes away what is gone.
        write_recording(calls if _whole_folder_ran(request.session) else calls | read_recording())
    if not calls:
        pytest.skip("no deployed function was run in this session; run all of tests/local")

    known = read_recording()

    assert calls - known == set(), f"calls that the recording lacks: refresh it with `{REFRESH}`"
    if _whole_folder_ran(request.session):
        # Which of a caller's calls a run sees depends on timing (a retry, a conflict); that it ran does not.
        gone = {use.caller for use in known} - {use.caller for use in calls}
        assert gone == set(), f"recorded callers that nothing runs any more: refresh with `{REFRESH}`"


def _whole_folder_ran(session: pytest.Session) -> bool:
    """Only a session with every file of this folder, on one worker, can say that a call is gone."""
    if os.environ.get("PYTEST_XDIST_WORKER"):
        return False
    ran = {item.path.name for item in session.items if "tests/local/" in item.path.as_posix()}
    there = {path.name for path in Path(__file__).parent.rglob("test_*.py")}
    return there <= ran and session.testsfailed == 0 and not session.config.getoption("keyword")
