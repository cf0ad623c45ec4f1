"""`treeline history` from end to end through boto3, against moto's EC2, CloudWatch and S3."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from moto import mock_aws

from cli.main import run
from training.history.cloudwatch import aws
from training.history.cloudwatch.fetch import HistoryError, ThrottledError, TransientError
from training.history.cloudwatch.series import Part, Query
from training.history.cloudwatch.store import Files, Folder, S3Folder
from training.history.files import open_history
from treeline.core.errors import UsageError

REGION = "us-east-1"
MINUTES = 90


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a client wants to see before it is made."""
    for name, value in (("ACCESS_KEY_ID", "x"), ("SECRET_ACCESS_KEY", "x"), ("DEFAULT_REGION", REGION)):
        monkeypatch.setenv(f"AWS_{name}", value)


@pytest.fixture
def account(credentials: None) -> Iterator[None]:
    """An empty account."""
    with mock_aws():
        yield


@pytest.fixture
def fleet(account: None) -> list[str]:
    """Two instances with EC2's metrics for the last hour and a half; only the first has an agent."""
    ec2, cloudwatch = boto3.client("ec2"), boto3.client("cloudwatch")
    started = ec2.run_instances(
        ImageId="ami-12c6146b", MinCount=2, MaxCount=2, Monitoring={"Enabled": True},
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "Environment", "Value": "prod"}]}],
    )  # fmt: skip
    names = sorted(instance["InstanceId"] for instance in started["Instances"])
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    moments = [now - timedelta(minutes=minute + 1) for minute in range(MINUTES)]

    def put(namespace: str, name: str, dimensions: dict[str, str], value: float) -> None:
        pairs = [{"Name": key, "Value": text} for key, text in dimensions.items()]
        data = [{"MetricName": name, "Dimensions": pairs, "Timestamp": at, "Value": value} for at in moments]
        cloudwatch.put_metric_data(Namespace=namespace, MetricData=data)

    for name in names:
        put("AWS/EC2", "CPUUtilization", {"InstanceId": name}, 40.0)
    put("CWAgent", "mem_used_percent", {"InstanceId": names[0], "InstanceType": "m5.large"}, 60.0)
    return names


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """CPU from EC2, memory from the agent."""
    path = tmp_path / "sources.json"
    parts = (("cpu_percent", "AWS/EC2", "CPUUtilization"), ("memory_percent", "CWAgent", "mem_used_percent"))
    path.write_text(json.dumps([{"metric": m, "parts": [{"namespace": n, "name": name}]} for m, n, name in parts]))
    return path


def test_plan_fetch_and_audit(
    fleet: list[str], sources: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "history")
    options = ["--out", out, "--days", "0.04", "--tag", "Environment=prod", "--sources", str(sources)]
    assert run(["history", "plan", *options]) == 0
    told = capsys.readouterr().out
    assert "2 servers x 2 metrics" in told
    assert "calls to make" in told
    assert "$0.00" in told
    assert f"CloudWatch knows no memory_percent of {fleet[1]}" in told

    assert run(["history", "fetch", *options, "--json"]) == 1  # the second server lacks a metric
    found = json.loads(capsys.readouterr().out)
    assert found["missing_metrics"] == {fleet[1]: ["memory_percent"]}
    assert found["fetched"]["points"] > 2 * 55
    history = open_history(Path(out) / "period_s=60")
    _, values = history.matrix(fleet[0])
    assert history.metrics == ("cpu_percent", "memory_percent")
    assert (values == [40.0, 60.0]).all()

    assert run(["history", "fetch", *options, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["fetched"]["calls"] == 0  # nothing is left to do
    assert run(["history", "audit", "--out", out, "--enough", "40"]) == 0
    assert f"no memory_percent from {fleet[1]}" in capsys.readouterr().out


def test_history_can_be_kept_in_a_bucket(fleet: list[str], sources: Path, capsys: pytest.CaptureFixture[str]) -> None:
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="history")
    options = ["--out", "s3://history/fleet", "--days", "0.04", "--sources", str(sources)]
    assert run(["history", "fetch", *options, "--json"]) == 1
    capsys.readouterr()
    keys = [found["Key"] for found in s3.list_objects_v2(Bucket="history")["Contents"]]
    assert all(key.startswith("fleet/") for key in keys)
    assert sum(key.endswith(".parquet") for key in keys) == sum("/_journal/" in key for key in keys) > 0
    assert run(["history", "audit", "--out", "s3://history/fleet", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["chunks_missing"] == 0


@pytest.mark.parametrize("kind", ["folder", "bucket"])
def test_files_appear_whole_are_listed_below_a_folder_and_can_be_removed(
    account: None, tmp_path: Path, kind: str
) -> None:
    files: Files = Folder(tmp_path)
    if kind == "bucket":
        boto3.client("s3").create_bucket(Bucket="history")
        files = S3Folder(boto3.client("s3"), "history", "fleet")
    files.write("a/1", b"one")
    files.write("a/b/2", b"two")
    files.write("c/3", b"three")
    files.write("a/1", b"ONE")
    assert sorted(files.names("a")) == ["a/1", "a/b/2"]
    assert files.read("a/1") == b"ONE"
    files.remove("a/1")
    files.remove("a/1")
    assert files.read("a/1") is None


class Failing:
    """A client whose calls fail with one error."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def get_metric_data(self, **_: object) -> None:
        raise self._error


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ClientError({"Error": {"Code": "ThrottlingException"}}, "GetMetricData"), ThrottledError),
        (ClientError({"ResponseMetadata": {"HTTPStatusCode": 500}}, "GetMetricData"), TransientError),
        (EndpointConnectionError(endpoint_url="https://monitoring"), TransientError),
        (ClientError({"Error": {"Code": "AccessDenied"}}, "GetMetricData"), HistoryError),
    ],
)
def test_errors_are_worth_a_retry_or_not(error: Exception, told: type[Exception]) -> None:
    source = aws.CloudWatchMetricData(Failing(error), None)  # type: ignore[arg-type]  # the call itself, no thread
    with pytest.raises(told):
        source._call({})


@pytest.mark.parametrize(("status", "told"), [("InternalError", TransientError), ("Forbidden", HistoryError)])
def test_a_result_that_failed_alone_fails_the_call(status: str, told: type[Exception]) -> None:
    with pytest.raises(told):
        aws._page({"MetricDataResults": [{"Id": "q0", "Label": "cpu", "StatusCode": status}]})


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["audit", "--out", "nowhere"], "holds no plan"),
        (["plan", "--out", "x", "--tag", "prod"], "expected NAME=VALUE"),
        (["plan", "--out", "x", "--end", "yesterday"], "expected ISO 8601"),
        (["fetch", "--out", "s3://"], "expected a folder or s3://bucket/prefix"),
        (["fetch", "--out", "x", "--points-per-s", "500000"], "up to the quota"),
    ],
)
def test_wrong_use_is_one_line(credentials: None, arguments: list[str], reason: str, tmp_path: Path) -> None:
    arguments = [str(tmp_path / a) if a in ("x", "nowhere") else a for a in arguments]
    with pytest.raises(UsageError, match=reason):
        run(["history", *arguments])


def test_a_query_names_what_cloudwatch_needs() -> None:
    part = Part(namespace="CWAgent", name="cpu_usage_active", stat="Average")
    asked = aws._query(3, Query(part=part, dimensions=(("InstanceId", "i-1"), ("cpu", "cpu-total")), column=0), 300)
    assert asked == {
        "Id": "q3",
        "MetricStat": {
            "Metric": {
                "Namespace": "CWAgent",
                "MetricName": "cpu_usage_active",
                "Dimensions": [{"Name": "InstanceId", "Value": "i-1"}, {"Name": "cpu", "Value": "cpu-total"}],
            },
            "Period": 300,
            "Stat": "Average",
        },
    }
