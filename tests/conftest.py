"""What stays together when two workers share the tests (`-n 2 --dist loadgroup`); which are slow and do not say why."""

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
        if path.startswith(folder) and path != "tests/emulator/test_dynamodb.py":  # needs no cloud
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


def pytest_addoption(parser: pytest.Parser) -> None:
    """`make test` asks for reasons, other runs do not."""
    parser.addoption("--explain-over", type=float, metavar="SECONDS", help="list slower tests that do not say why")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that is slow on purpose says why, where it is written."""
    for item in items:
        for mark in item.iter_markers("slow"):
            if len(mark.args) != 1 or not isinstance(mark.args[0], str):
                raise pytest.UsageError(f'{item.nodeid}: slow needs its reason: @pytest.mark.slow("why")')


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Tests over the limit that do not say why; a list and no failure, as a busy machine is slow without a reason."""
    limit = config.getoption("--explain-over")
    if limit is None:
        return
    # The test itself: what it sets up is often shared, and then paid by whoever comes first.
    took = {
        report.nodeid: report.duration
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "call" and "slow" not in report.keywords
    }
    for test, seconds in sorted(took.items(), key=lambda entry: -entry[1]):
        if seconds > limit:
            terminalreporter.write_line(f"{test}: {seconds:.0f} s, and does not say why (pytest.mark.slow)")
