import subprocess
import sys

import pytest

SCRIPT = """
import sys
import treeline.forest.content, treeline.forest.forest, treeline.forest.invocation
import treeline.forest.recordio, treeline.forest.serve, treeline.forest.storage, treeline.forest.training
heavy = {"numba", "llvmlite", "scipy", "pandas", "pyarrow", "sklearn", "boto3", "aws_cdk"}
print(*sorted(heavy & set(sys.modules)))
"""


def test_the_forest_needs_only_numpy_and_loads_numba_no_sooner_than_it_scores():
    """Otherwise whatever touches a forest, a Lambda function among them, would carry and load a compiler."""
    run = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)  # noqa: S603 - our own text
    assert run.stdout.split() == []


def test_a_place_where_nothing_can_be_kept_still_compiles(monkeypatch):
    """numba refuses `cache=True` where it can write neither beside the module nor in a home, as in some containers."""
    numba = pytest.importorskip("numba")
    real = numba.njit

    def njit(*, cache: bool = False, **options: object):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return real(**options)

    monkeypatch.setattr(numba, "njit", njit)
    monkeypatch.delitem(sys.modules, "treeline.forest.compiled", raising=False)
    import treeline.forest.compiled as again

    assert callable(again.score_rows)
    # Others shall get the usual one again.
    sys.modules.pop("treeline.forest.compiled")
