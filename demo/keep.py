"""Keeps a replay's incidents in its folder, so that `treeline explain ID --run` works when the cloud is gone."""

from collections.abc import Mapping
from pathlib import Path

from demo.cloud import Deployment
from demo.incident_files import FOLDER, save
from training.history.grid import Grid
from treeline.app.explain.incident_source import Score
from treeline.core.alert import Alert
from treeline.core.model.package import ModelPackage
from treeline.forest.forest import RandomCutForest
from treeline.wiring.incident_tables import tables


def keep_incidents(
    deployment: Deployment,
    folder: Path,
    incidents: Mapping[str, list[Alert]],
    present: Grid,
    package: ModelPackage,
    forest: RandomCutForest,
) -> int:
    """Copy the incidents, and what is stored of their servers, out of the deployed tables; of how many servers."""

    def given(_: str) -> tuple[Score, str]:
        return forest.score, "the run's own"

    return save(
        folder / FOLDER,
        tables(deployment, given),
        incidents,
        package=package,
        forest=forest,
        watched=(int(present.times_ms[0]), int(present.times_ms[-1])),
        server_count=len(present.servers),
    )
