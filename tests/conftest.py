"""What stays together when two workers share the tests (`-n 2 --dist loadgroup`)."""

from typing import Any

import pytest

# One synthesis, or one cloud, serves all tests of a folder; a test that starts a cloud of its own goes where there is
# room; of all else a file stays together, as what it prepares does.
FOLDERS = ("tests/infra/", "tests/emulator/")
APART = ("tests/deployed/test_faults.py", "tests/deployed/test_people.py", "tests/deployed/test_promotion.py")


def group(test: str) -> str:
    """The group of a test by its node id."""
    path = test.split("::", 1)[0]
    for folder in FOLDERS:
        if path.startswith(folder) and path != "tests/emulator/test_dynamodb_speed.py":  # needs no cloud
            return folder
    return test if path in APART else path


# By hand, as xdist 3.8 reads its marks into an attribute that pytest 9 no longer has, and groups nothing.
@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Work units by `group`."""
    if config.getvalue("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group(nodeid)

    return Groups(config, log)
