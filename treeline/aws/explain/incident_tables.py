"""What an explanation is made from, in deployed tables, the models bucket and, for the forest, SageMaker."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from itertools import chain
from typing import Any

import numpy as np
from botocore.exceptions import ClientError

from treeline.app.detect.override import Override
from treeline.app.detect.scoreblock import ScoreBlock
from treeline.app.explain.incident_source import LATEST_MS, Observed, Score, ScoredPath
from treeline.app.promote.service import variant_name
from treeline.aws.client_types import DynamoDBClient, S3Client, SageMakerClient
from treeline.aws.detect.overrides import OverrideTable
from treeline.aws.detect.score_blocks import LONGEST_BLOCK_MS, ScoreBlocks
from treeline.aws.dynamodb import items_of
from treeline.aws.incident_index import opened_between
from treeline.aws.learn.artifacts import ModelArtifacts
from treeline.core.alert import Alert
from treeline.core.errors import ModelMismatchError, ScorerUnavailableError, UsageError
from treeline.core.model.package import ModelPackage
from treeline.core.times import iso, parse_iso

_SUGGESTED = 5
_RECENT_MS = 6 * 3_600_000


class IncidentRows:
    """The incidents table, read."""

    def __init__(self, dynamodb: DynamoDBClient, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    def find(self, incident_id: str) -> list[Alert] | None:
        """An incident's changes in order; None where there is no such incident."""
        item = self._dynamodb.get_item(TableName=self._table, Key={"incident_id": {"S": incident_id}}).get("Item")
        return None if item is None else _history(item)

    def between(self, start_ms: int, end_ms: int) -> dict[str, list[Alert]]:
        """Incidents opened in [start, end), with their changes, in order of their opening."""
        found = [
            (item["opened_at"]["S"], item["incident_id"]["S"], _history(item))
            for item in opened_between(self._dynamodb, self._table, start_ms, end_ms)
        ]
        return {incident_id: history for _, incident_id, history in sorted(found, key=lambda row: row[:2]) if history}

    def of_server(self, server_id: str, start_ms: int, end_ms: int) -> list[str]:
        """Ids of a server's incidents that opened in [start, end], in order of their opening."""
        items = items_of(
            self._dynamodb,
            TableName=self._table,
            IndexName="by-server",
            KeyConditionExpression="server_id = :server AND opened_at BETWEEN :start AND :end",
            ExpressionAttributeValues={
                ":server": {"S": server_id},
                ":start": {"S": iso(max(start_ms, 0))},
                ":end": {"S": iso(end_ms)},
            },
        )
        return [item["incident_id"]["S"] for item in items]


@dataclass(frozen=True, slots=True)
class IncidentTables:
    """See `treeline.app.explain.incident_source.IncidentSource`."""

    dynamodb: DynamoDBClient
    s3: S3Client
    _: KW_ONLY
    rows: IncidentRows
    blocks: ScoreBlocks
    observations_table: str
    servers_table: str
    models_bucket: str
    overrides: OverrideTable
    scorer: Callable[[str], tuple[Score, str]]

    def incident(self, incident_id: str) -> list[Alert]:
        """An incident's changes in order; raises UsageError where there is no such incident."""
        alerts = self.rows.find(incident_id)
        if alerts:
            return alerts
        others = self.rows.of_server(incident_id.rpartition("/")[0] or incident_id, 0, LATEST_MS)
        more = f" and {len(others) - _SUGGESTED} before" if len(others) > _SUGGESTED else ""
        hint = (
            f"; of that server there are: {', '.join(others[-_SUGGESTED:])}{more}"
            if others
            else "; `treeline incident list` shows all"
        )
        raise UsageError(f"there is no incident {incident_id!r}{hint}")

    def incidents_of(self, server_id: str, start_ms: int, end_ms: int) -> list[str]:
        """Ids of a server's incidents that opened in [start, end], in order of their opening."""
        return self.rows.of_server(server_id, start_ms, end_ms)

    def model_at(self, server_id: str, at_ms: int) -> str | None:
        """The model that scored most of a server in the hours before; None where nothing of it is stored.

        A canary's blocks stand beside those of the model in use, and hold fewer of its observations.
        """
        scored: Counter[str] = Counter()
        for block in self._blocks_of(server_id, at_ms - _RECENT_MS, at_ms, None):
            if server_id in block.servers:
                own = block.server == block.servers.index(server_id)
                within = (block.observed_at > at_ms - _RECENT_MS) & (block.observed_at <= at_ms)
                scored[block.model_version] += int((own & within).sum())
        return max(scored, key=lambda version: scored[version], default=None)

    def missing(self, server_id: str) -> str:
        """Whether the stage knows the server, whose scores have then expired or are not written yet."""
        known = self._server(server_id) is not None
        return "the stage has no scores of that time (any more)" if known else "the stage knows no server of that name"

    def scored(self, server_id: str, start_ms: int, end_ms: int, *, model_version: str) -> ScoredPath:
        """What a model scored of a server in [start, end]; empty where scores have expired."""
        blocks = self._blocks_of(server_id, start_ms, end_ms, model_version)
        return ScoredPath.of(blocks, server_id, start_ms, end_ms)

    def _blocks_of(self, server_id: str, start_ms: int, end_ms: int, model_version: str | None) -> Iterable[ScoreBlock]:
        """Score blocks of a server's group; one that caught up on a backlog may have begun long before."""
        item = self._server(server_id)
        if item is None:
            return ()
        group, begun = int(item["group"]["N"]), start_ms - LONGEST_BLOCK_MS
        return chain(
            self.blocks.reaching(group, max(start_ms, 0), begun_before_ms=begun, model_version=model_version),
            self.blocks.read(group, start_ms, end_ms + 1, model_version=model_version),
        )

    def _server(self, server_id: str) -> Mapping[str, Any] | None:
        found = self.dynamodb.get_item(TableName=self.servers_table, Key={"server_id": {"S": server_id}})
        return found.get("Item")

    def observations(self, server_id: str, start_ms: int, end_ms: int, metrics: tuple[str, ...]) -> Observed:
        """The stored observations of a server in [start, end]; what has expired is missing."""
        times: list[int] = []
        values: list[list[float]] = []
        for item in items_of(
            self.dynamodb,
            TableName=self.observations_table,
            KeyConditionExpression="server_id = :server AND observed_at BETWEEN :start AND :end",
            ExpressionAttributeValues={
                ":server": {"S": server_id},
                ":start": {"S": iso(max(start_ms, 0))},
                ":end": {"S": iso(end_ms)},
            },
        ):
            row = item["metrics"]["M"]
            times.append(parse_iso(item["observed_at"]["S"]))
            values.append([float(row[name]["N"]) if name in row else float("nan") for name in metrics])
        return Observed(
            np.array(times, dtype=np.int64), np.array(values, dtype=np.float32).reshape(len(times), len(metrics))
        )

    def override(self, id_: str) -> Override:
        """An override by its id; raises ModelMismatchError where it is gone."""
        entry = self.overrides.entry(id_)
        if entry is None:
            raise ModelMismatchError(f"the override {id_} that decided is not stored any more")
        return entry

    def package(self, model_version: str) -> ModelPackage:
        """A model's package; raises ModelMismatchError where it is gone."""
        artifacts = ModelArtifacts(self.s3, self.models_bucket)
        keys = [f"packages/{model_version}/package.zip", f"packages/{model_version}.zip"]  # the pipeline's, and by hand
        for key in keys:
            if (data := artifacts.read(key)) is not None:
                return ModelPackage.from_bytes(data)
        raise ModelMismatchError(f"there is no package of model {model_version} at {' or '.join(keys)}")


class ForestFiles:
    """Model artifacts of SageMaker's models, found by name: the model version's, or one that begins with it."""

    def __init__(self, sagemaker: SageMakerClient, s3: S3Client) -> None:
        self._sagemaker = sagemaker
        self._s3 = s3

    def read(self, model_version: str, name: str = "") -> tuple[bytes, str]:
        """model.tar.gz and where it lies; `name` is SageMaker's of the model, where that is known.

        Raises ScorerUnavailableError where it cannot be read.
        """
        prefix = variant_name(model_version)[:54]
        try:
            if not name:
                found = self._sagemaker.list_models(NameContains=prefix, MaxResults=100)["Models"]
                names = [model["ModelName"] for model in found if f"{model['ModelName']}-".startswith(f"{prefix}-")]
                name = min(names, key=len, default=prefix)
            url = self._sagemaker.describe_model(ModelName=name)["PrimaryContainer"]["ModelDataUrl"]
        except (ClientError, KeyError) as error:
            raise ScorerUnavailableError(f"the forest of model {model_version}: {error}") from error
        return self.at(url)

    def at(self, url: str) -> tuple[bytes, str]:
        """model.tar.gz at an s3:// address, and the address; raises ScorerUnavailableError where it cannot be read."""
        bucket, _, key = url.removeprefix("s3://").partition("/")
        try:
            return self._s3.get_object(Bucket=bucket, Key=key)["Body"].read(), url
        except ClientError as error:
            raise ScorerUnavailableError(f"the forest at {url}: {error}") from error


def _history(item: dict[str, Any]) -> list[Alert]:
    return [Alert.from_json(json.loads(event["S"])) for event in item.get("history", {}).get("L", [])]
