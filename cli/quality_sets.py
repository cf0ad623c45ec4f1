"""The labelled fleets that the release gate runs on, by name."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from demo.fleet.generate import generate
from demo.fleet.plan import DEMO, Addition, FleetPlan
from training.history.files import History, open_history
from treeline.core.errors import UsageError

DATA_VARIABLE = "TREELINE_DATA"
DATA_FOLDER = Path("../shared/data")
FILES = {  # place of a set's history and incidents below the data folder
    "smd": ("fleet/fleet.parquet", "fleet/incidents.csv"),
    "asd": ("asd/fleet.parquet", "asd/incidents.csv"),
    "services": ("services/fleet.parquet", "services/incidents.csv"),
    "nab": ("nab/realAWSCloudwatch.parquet", "nab/incidents.csv"),
}
GENERATED = "generated"
SEEDS = (7, 101, 102, 103, 104)
PLANS: dict[str, tuple[FleetPlan, ...]] = {
    GENERATED: tuple(replace(FleetPlan(), seed=seed) for seed in SEEDS),
    "additions": (replace(FleetPlan(), additions=frozenset(Addition)),),
    "demo": (DEMO,),
}
NAMES = (*FILES, *PLANS)


def chosen(names: str | None) -> list[str]:
    """The sets that a comma-separated list names, all for None; raises UsageError for an unknown one."""
    if names is None:
        return list(NAMES)
    listed = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in listed if name not in NAMES]
    if unknown or not listed:
        raise UsageError(f"--sets has {', '.join(unknown) or 'no name'}; there are {', '.join(NAMES)}")
    return listed


def data_folder(given: Path | None) -> Path:
    """Where the labelled sets lie; raises UsageError where the given folder is none."""
    if given is None:
        return Path(os.environ.get(DATA_VARIABLE) or DATA_FOLDER)
    if not given.is_dir():
        raise UsageError(f"--data-folder {given} is not a folder")
    return given


def histories(name: str, folder: Path, note: Callable[[str], None]) -> Iterator[tuple[str, History]]:
    """The fleets of a set, one after the other, each by its name; none, with a note, where the files are not here."""
    if name in PLANS:
        for plan in PLANS[name]:
            note(f"{name}: {plan.servers} servers, {plan.days:g} days, a step of {plan.step_s} s, seed {plan.seed}")
            with _generated(plan) as history:
                yield str(plan.seed), history
        return
    data, incidents = (folder / place for place in FILES[name])
    if data.exists() and incidents.exists():
        yield name, open_history(data, incidents)
    else:
        note(f"{name} left out: {data} is not here")


@contextmanager
def _generated(plan: FleetPlan) -> Iterator[History]:
    with tempfile.TemporaryDirectory(prefix="treeline-quality-") as temporary:
        made = generate(plan, Path(temporary))
        yield open_history(made.data_path, made.incidents_path)
