"""The container holds what its jobs run, the history fetch among them, and needs nothing of the checkout beside it."""

import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# A site-packages that is only appended brings its packages, but not the editable install's way to the checkout.
RUN = """
import runpy, sys
sys.path[:] = [{folder!r}, *[p for p in sys.path if p and not p.startswith({root!r})], {packages!r}]
sys.argv = {argv!r}
runpy.run_module(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders that container/Dockerfile copies."""
    folder = tmp_path_factory.mktemp("opt")
    lines = (ROOT / "container" / "Dockerfile").read_text(encoding="utf-8").splitlines()
    copied = [m[1] for line in lines if (m := re.fullmatch(r"COPY (\w+) \1", line))]
    assert "treeline" in copied
    for name in copied:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.mark.parametrize(
    "argv",
    [
        ["treeline", "history", "fetch", "--help"],  # stacks/constructs/history_job.py
        ["training.jobs.prepare", "--help"],  # stacks/workflows/training.py
        ["training.jobs.evaluate", "--help"],
        ["training.jobs.train", "--help"],  # container/train
        ["treeline.forest.serve", "--help"],  # container/serve
    ],
    ids=" ".join,
)
def test_every_command_of_the_container_runs_in_it(image: Path, argv: list[str]):
    code = RUN.format(folder=str(image), root=str(ROOT), packages=sysconfig.get_paths()["purelib"], argv=argv)

    ran = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-I", "-S", "-c", code], cwd=image, capture_output=True, text=True, check=False
    )

    started = ran.returncode == 0 or "is this a training job?" in ran.stderr  # what train says outside SageMaker
    assert started, ran.stderr[-2000:]
