"""`treeline shadow report` over a stage's tables and CloudWatch's history: beside alarms, and judged by labels."""

import json
import time
from dataclasses import dataclass, replace

import numpy as np
import pytest

from cli.main import run
from emulator.launcher import EmbeddedCloud
from tests.unit.paging_fakes import alert
from tests.unit.short_history import trained_package
from treeline.app.detect.scoreblock import ScoreBlock
from treeline.aws.detect.incidents import IncidentTable
from treeline.aws.detect.score_table import ScoreTable
from treeline.aws.dynamodb import item_of
from treeline.core.alert import AlertEvent, Clocks, Priority
from treeline.core.errors import UsageError
from treeline.core.times import iso
from treeline.settings import outputs

pytestmark = pytest.mark.cloud
MINUTE = 60_000
KEYS = {
    outputs.SERVERS_TABLE: ("server_id",),
    outputs.INCIDENTS_TABLE: ("incident_id",),
    outputs.CONTROLS_TABLE: ("kind", "id"),
    outputs.SCORES_TABLE: ("group", "tick"),
}


def template() -> dict:
    """The tables that the report reads, with the keys they have in the stage's stack."""
    resources: dict = {"Models": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "shadow-models"}}}
    for output, keys in KEYS.items():
        kinds = {key: "N" if key == "group" else "S" for key in keys}
        index = []
        if output == outputs.INCIDENTS_TABLE:
            kinds |= {"state": "S", "opened_at": "S"}
            schema = [{"AttributeName": "state", "KeyType": "HASH"}, {"AttributeName": "opened_at", "KeyType": "RANGE"}]
            index = [{"IndexName": "by-state", "KeySchema": schema, "Projection": {"ProjectionType": "ALL"}}]
        properties = {
            "TableName": output,
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{"AttributeName": name, "AttributeType": kind} for name, kind in kinds.items()],
            "KeySchema": [
                {"AttributeName": key, "KeyType": role} for key, role in zip(keys, ("HASH", "RANGE"), strict=False)
            ],
            **({"GlobalSecondaryIndexes": index} if index else {}),
        }
        resources[output] = {"Type": "AWS::DynamoDB::Table", "Properties": properties}
    told = {output: {"Value": output} for output in (*KEYS, outputs.OBSERVATIONS_TABLE)}
    return {"Resources": resources, "Outputs": {**told, outputs.MODELS_BUCKET: {"Value": "shadow-models"}}}


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stage `local` without functions, and the time around which everything happens."""

    cloud: EmbeddedCloud
    now_ms: int

    def incident(self, server, minutes_ago, *, priority=Priority.P1):
        at_ms = self.now_ms - minutes_ago * MINUTE
        at = iso(at_ms)
        clocks = Clocks(first_anomalous_at=at, observed_at=at, received_at=at, scored_at=at, published_at=at)
        opened = alert(
            AlertEvent.OPENED, server_id=server, opened=at, priority=priority, clocks=clocks,
            model_version=trained_package().model_version,
        )  # fmt: skip
        table = IncidentTable(self.cloud.client("dynamodb"), outputs.INCIDENTS_TABLE)
        table.apply(opened)
        end = iso(at_ms + 3 * MINUTE)
        over = replace(opened, event=AlertEvent.RESOLVED, sequence=2, clocks=replace(clocks, observed_at=end))
        table.apply(over)
        return opened.incident_id

    def ring(self, name, dimensions):
        """An alarm that rings now, and is over."""
        cloudwatch = self.cloud.client("cloudwatch")
        cloudwatch.put_metric_alarm(
            AlarmName=name, Namespace="Elsewhere", MetricName="cpu", Statistic="Maximum", Period=60,
            EvaluationPeriods=1, Threshold=80, ComparisonOperator="GreaterThanThreshold", TreatMissingData="ignore",
            Dimensions=[{"Name": key, "Value": value} for key, value in dimensions.items()],
        )  # fmt: skip
        for state in ("OK", "ALARM", "OK"):
            cloudwatch.set_alarm_state(AlarmName=name, StateValue=state, StateReason="told to")

    def report(self, capsys, *words):
        capsys.readouterr()
        port = self.cloud.endpoint_url.rsplit(":", 1)[1]
        assert run(["shadow", "report", "--stage", "local", "--port", port, "--days", "2", *words]) == 0
        return capsys.readouterr().out


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    with EmbeddedCloud(directory=tmp_path_factory.mktemp("cloud")) as cloud:
        cloudformation, dynamodb = cloud.client("cloudformation"), cloud.client("dynamodb")
        cloudformation.create_stack(StackName="treeline-local-state", TemplateBody=json.dumps(template()))
        empty = {"Resources": {"Topic": {"Type": "AWS::SNS::Topic", "Properties": {}}}}
        cloudformation.create_stack(StackName="treeline-local-detection", TemplateBody=json.dumps(empty))
        for name in ("treeline-local-state", "treeline-local-detection"):
            cloudformation.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
        package = trained_package()
        key = f"packages/{package.model_version}/package.zip"
        cloud.client("s3").put_object(Bucket="shadow-models", Key=key, Body=package.to_bytes())
        dynamodb.put_item(TableName=outputs.SERVERS_TABLE, Item=item_of({"server_id": "#counter", "next_number": 3}))
        for number, labels in enumerate(({"instance_id": "i-0"}, {}, {})):
            item = {"server_id": f"web-{number}", "number": number, "group": 0, "labels": labels}
            dynamodb.put_item(TableName=outputs.SERVERS_TABLE, Item=item_of(item))
        yield Stage(cloud=cloud, now_ms=time.time_ns() // 1_000_000)


@pytest.fixture(scope="module")
def happened(stage):
    """web-0 in common, web-1 ours alone, web-2 theirs alone; and what is of no server."""
    ids = [stage.incident("web-0", 5), stage.incident("web-1", 300)]
    stage.ring("cpu-web-0", {"InstanceId": "i-0"})
    stage.ring("cpu-web-2", {"host": "web-2"})
    stage.ring("disk-web-2", {"host": "web-2", "path": "/"})
    stage.ring("load-of-all", {"AutoScalingGroupName": "web"})
    stage.ring("treeline-local-detection-Errors", {"host": "web-1"})
    stage.cloud.client("cloudwatch").put_composite_alarm(AlarmName="any", AlarmRule="ALARM(cpu-web-0)")
    return ids


def test_incidents_stand_beside_the_alarms_of_their_servers(stage, happened, capsys):
    body = json.loads(stage.report(capsys, "--against-alarms", "--json"))["against_alarms"]
    found = body["tiers"]["P1+P2"]
    assert [shared["incident_id"] for shared in found["both"]] == happened[:1]
    assert 200 < found["both"][0]["lead_s"] < 900, "we told five minutes before the alarm"
    assert found["only_ours"] == happened[1:]
    assert [each["alarm"] for each in found["only_theirs"]] == ["cpu-web-2", "disk-web-2"]
    assert (found["incidents"], found["alarms"], found["ours_first"]) == (2, 3, 1)
    assert body["unmapped_alarms"] == {"load-of-all": "no dimension of it names a server that Treeline knows"}
    assert body["composite_alarms"] == ["any"]
    assert body["own_alarms"] == 1


def test_a_prefix_chooses_the_alarms_and_the_terminal_says_all_of_it(stage, happened, capsys):
    shown = stage.report(capsys, "--against-alarms", "--alarm-prefix", "cpu-")
    assert f"both: {happened[0]}, alarm cpu-web-0" in shown
    assert f"only ours: {happened[1]} (P1)" in shown
    assert "only theirs: cpu-web-2 (web-2)" in shown
    assert "disk-web-2" not in shown
    assert "load-of-all" not in shown
    assert "of no server: 1" in stage.report(capsys, "--against-alarms")


def test_labels_of_the_days_judge_the_pages_on_what_was_observed(stage, happened, capsys, tmp_path):
    """web-0 was observed for the last two hours and ten before them, web-1 for ten hours: half a day, and not two."""
    at = stage.now_ms - MINUTE * np.arange(600, 0, -1)
    silent = (at > stage.now_ms - 500 * MINUTE) & (at < stage.now_ms - 120 * MINUTE)
    times = np.concatenate([at[~silent], at])
    rows = np.concatenate([np.zeros((~silent).sum(), dtype=np.intp), np.ones(len(at), dtype=np.intp)])
    table = ScoreTable(stage.cloud.client("dynamodb"), outputs.SCORES_TABLE, ttl_s=86_400)
    for hours in range(0, 12, 3):
        own = (times >= stage.now_ms - (hours + 3) * 60 * MINUTE) & (times < stage.now_ms - hours * 60 * MINUTE)
        if own.any():
            table.put(0, ScoreBlock.empty(["web-0", "web-1"], "m", rows[own], times[own]), stage.now_ms)
    labels = tmp_path / "incidents.csv"
    begun, over = iso(stage.now_ms - 8 * MINUTE), iso(stage.now_ms - MINUTE)
    labels.write_text(f"server_id,start,end\nweb-0,{begun},{over}\nweb-2,{begun},{over}\n", encoding="utf-8")
    body = json.loads(stage.report(capsys, "--incidents", str(labels), "--json"))["quality"]["P1"]
    assert (body["hits"], body["labels"], body["labels_outside"], body["false_pages"]) == (1, 1, 1, 1)
    assert body["delay_p50_s"] == 180.0
    assert body["server_days"] == pytest.approx((220 + 600) / 1440, abs=0.002)
    shown = stage.report(capsys, "--incidents", str(labels))
    assert "precision" in shown
    assert "labels left out, as nothing was observed of their server then: 1" in shown
    labels.write_text(f"server_id,start,end\nweb-9,{begun},{over}\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"web-9.*stage local"):
        stage.report(capsys, "--incidents", str(labels))
