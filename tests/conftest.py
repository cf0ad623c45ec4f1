"""What stays together when two workers share the tests (`-n 2 --dist loadgroup`)."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A file stays on one worker, as what it prepares does; so do all tests of one synthesis or of one cloud."""
    for item in items:
        if group := _group(item):
            item.add_marker(pytest.mark.xdist_group(group))


def _group(item: pytest.Item) -> str | None:
    fixtures = getattr(item, "fixturenames", ())
    if "pipeline" in fixtures:
        return None  # starts a cloud of its own: goes where there is room
    if HERE / "infra" in item.path.parents:
        return "infra"
    return "small" if "small" in fixtures else item.path.relative_to(HERE).as_posix()
