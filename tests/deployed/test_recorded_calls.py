"""The recording that the proof of permissions reads (tests/infra/test_permissions.py) is what the code does today.

Runs last of tests/deployed, whatever the number of workers. `make permissions` writes the file anew.
"""

import os
import time
from pathlib import Path

import pytest

from tests.deployed.session import ended
from tests.infra.acknowledged_permissions import VARYING
from tests.infra.permissions import REFRESH, read_recording, recorded, write_recording

pytestmark = pytest.mark.cloud
REWRITE_VARIABLE = "TREELINE_WRITE_RECORDING"
HERE = Path(__file__).parent
PATIENCE_S = 900.0  # the other workers still have their last tests, and each of those has a deadline of its own


def test_the_checked_in_recording_is_what_was_called(recording: Path, request: pytest.FixtureRequest):
    is_whole = _whole_folder_ran(recording, request)
    calls, known = recorded(recording), read_recording()
    if os.environ.get(REWRITE_VARIABLE):
        # A session of a part of the folder adds what it saw, one of the whole also takes away what is gone.
        known = calls | (known & set(VARYING)) if is_whole else calls | known
        write_recording(known)
    if not calls:
        pytest.skip("no deployed function was run in this session; run all of tests/deployed")

    assert calls - known == set(), f"calls that the recording lacks: refresh it with `{REFRESH}`"
    if is_whole:
        gone = known - calls - set(VARYING)
        assert gone == set(), f"recorded calls that nothing makes any more: refresh with `{REFRESH}`"


def _whole_folder_ran(recording: Path, request: pytest.FixtureRequest) -> bool:
    """Only a session with every file of this folder, all passed, can say that a call is gone.

    Other workers may still be at their last tests: they are waited for.
    """
    here = [item for item in request.session.items if HERE in item.path.parents]
    others = {item.nodeid for item in here if item.path != Path(__file__)}
    deadline = time.monotonic() + (PATIENCE_S if os.environ.get("PYTEST_XDIST_WORKER") else 0)
    while missing := others - ended(recording).keys():
        if time.monotonic() >= deadline:
            pytest.fail(f"tests that did not end, so the recording is not whole: {sorted(missing)}")
        time.sleep(0.2)
    files = {path.name for path in HERE.rglob("test_*.py")}
    is_filtered = request.config.getoption("keyword") or {item.path.name for item in here} < files
    return not is_filtered and not any(ended(recording).values())
