"""A deployment's incidents, for explanations: the tables by the names of its outputs."""

from collections.abc import Callable
from typing import Any, Protocol

from treeline.app.explain.incident_source import Score
from treeline.aws.detect.overrides import OverrideTable
from treeline.aws.detect.score_blocks import ScoreBlocks
from treeline.aws.explain.incident_tables import IncidentRows, IncidentTables
from treeline.settings import outputs


class Reachable(Protocol):
    """A deployment's clients and outputs."""

    def client(self, service: str) -> Any:
        """A boto3 client."""
        ...

    def output(self, key: str) -> str:
        """A resource by its name in treeline.settings.outputs."""
        ...


def tables(deployment: Reachable, forest: Callable[[str], tuple[Score, str]]) -> IncidentTables:
    """A deployment's incidents, for explanations."""
    dynamodb = deployment.client("dynamodb")
    return IncidentTables(
        dynamodb,
        deployment.client("s3"),
        rows=IncidentRows(dynamodb, deployment.output(outputs.INCIDENTS_TABLE)),
        blocks=ScoreBlocks(dynamodb, deployment.output(outputs.SCORES_TABLE)),
        observations_table=deployment.output(outputs.OBSERVATIONS_TABLE),
        servers_table=deployment.output(outputs.SERVERS_TABLE),
        models_bucket=deployment.output(outputs.MODELS_BUCKET),
        overrides=OverrideTable(dynamodb, deployment.output(outputs.CONTROLS_TABLE)),
        scorer=forest,
    )
