"""CloudWatch and EC2 themselves: GetMetricData in threads, ListMetrics and DescribeInstances for discovery."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from datetime import datetime
from typing import Any

import boto3
import cbor2
import numpy as np
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from training.history.cloudwatch.discovery import Dimensions, Instance
from training.history.cloudwatch.fetch import HistoryError, Page, Points, ThrottledError, TransientError
from training.history.cloudwatch.series import Query
from treeline.core.times import from_ms

_THROTTLED = {"Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequestsException"}
_FAST_HOOK = "before-parse.cloudwatch.GetMetricData"
MAX_DATAPOINTS = 100_800


def cloudwatch_client(session: boto3.Session, *, parallel_calls: int) -> Any:
    """A client that leaves retrying and pacing to us and reads answers fast."""
    config = Config(
        retries={"mode": "standard", "total_max_attempts": 1}, max_pool_connections=parallel_calls, read_timeout=60
    )
    client = session.client("cloudwatch", config=config)
    client.meta.events.register(_FAST_HOOK, _read_fast)
    return client


def _read_fast(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any) -> None:
    """Decode the body by cbor2 and leave botocore an empty one; an answer in another format is left to botocore.

    botocore's own reader makes a Python call for each byte: 1.5 s for a full answer of 100,800 points, six times what
    CloudWatch's quota leaves for it. cbor2 takes 0.07 s.
    """
    if response_dict["status_code"] != 200 or response_dict["headers"].get("smithy-protocol") != "rpc-v2-cbor":
        return
    try:
        answer = cbor2.loads(response_dict["body"])
    except cbor2.CBORDecodeError as error:
        raise TransientError(f"CloudWatch's answer is not readable: {error}") from error
    if not isinstance(answer, dict):
        raise TransientError(f"CloudWatch's answer is not readable: a map was expected, got {type(answer).__name__}")
    customized_response_dict.update(answer)
    response_dict["body"] = b"\xa0"


class CloudWatchMetricData:
    """GetMetricData over boto3, one thread a call in flight."""

    def __init__(self, client: Any, executor: Executor) -> None:
        self._client = client
        self._executor = executor

    async def page(
        self, queries: Sequence[Query], *, period_s: int, start_ms: int, end_ms: int, token: str | None
    ) -> Page:
        """One call; raises ThrottledError or TransientError when it is worth another try."""
        request: dict[str, Any] = {
            "MetricDataQueries": [_query(i, query, period_s) for i, query in enumerate(queries)],
            "StartTime": from_ms(start_ms),
            "EndTime": from_ms(end_ms),
            "ScanBy": "TimestampAscending",
            "MaxDatapoints": MAX_DATAPOINTS,
        }
        if token is not None:
            request["NextToken"] = token
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, self._call, request)

    def _call(self, request: dict[str, Any]) -> Page:
        try:
            answer = self._client.get_metric_data(**request)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            if code in _THROTTLED or status == 429:
                raise ThrottledError(f"CloudWatch: {code}") from error
            if status >= 500:
                raise TransientError(f"CloudWatch: {error}") from error
            raise HistoryError(f"CloudWatch refused a call: {error}") from error
        except BotoCoreError as error:
            raise TransientError(f"CloudWatch: {error}") from error
        return _page(answer)


def _query(position: int, query: Query, period_s: int) -> dict[str, Any]:
    dimensions = [{"Name": name, "Value": value} for name, value in query.dimensions]
    metric = {"Namespace": query.part.namespace, "MetricName": query.part.name, "Dimensions": dimensions}
    return {"Id": f"q{position}", "MetricStat": {"Metric": metric, "Period": period_s, "Stat": query.part.stat}}


def _page(answer: dict[str, Any]) -> Page:
    points: dict[int, Points] = {}
    for result in answer.get("MetricDataResults", []):
        status = result.get("StatusCode", "Complete")
        if status == "InternalError":
            raise TransientError(f"CloudWatch could not read {result.get('Label', result['Id'])}")
        if status == "Forbidden":
            label = result.get("Label", result["Id"])
            raise HistoryError(f"no permission to read {label}: allow cloudwatch:GetMetricData")
        times = result.get("Timestamps", [])
        if len(times) and isinstance(times[0], datetime):
            times = [moment.timestamp() for moment in times]
        points[int(result["Id"][1:])] = Points(
            np.asarray(times, dtype=np.float64).astype(np.int64), np.asarray(result.get("Values", []), dtype=np.float64)
        )
    return Page(points, answer.get("NextToken"))


def instances(client: Any, tags: Iterable[tuple[str, str]] = ()) -> Iterator[Instance]:
    """EC2's instances that run or stand still, with these tags (`*` matches any value); pages through them all."""
    filters = [{"Name": "instance-state-name", "Values": ["running", "stopped", "stopping", "pending"]}]
    filters += [{"Name": f"tag:{name}", "Values": [value]} for name, value in tags]
    for page in client.get_paginator("describe_instances").paginate(Filters=filters):
        for reservation in page["Reservations"]:
            for found in reservation["Instances"]:
                yield Instance(
                    instance_id=found["InstanceId"],
                    tags={tag["Key"]: tag["Value"] for tag in found.get("Tags", [])},
                    detailed_monitoring=found.get("Monitoring", {}).get("State") in ("enabled", "pending"),
                )


def listed_metrics(client: Any, namespace: str, name: str) -> Iterator[Dimensions]:
    """The dimensions of each series of a metric that CloudWatch has heard of in the last two weeks."""
    for page in client.get_paginator("list_metrics").paginate(Namespace=namespace, MetricName=name):
        for found in page["Metrics"]:
            yield tuple(sorted((d["Name"], d["Value"]) for d in found.get("Dimensions", [])))
