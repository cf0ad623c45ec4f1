"""`treeline server retire` on the tables, against moto: what is written, by which calls, what repeating it changes."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto import mock_aws

from cli import server as command
from cli.main import run
from tests.contract.test_aws_adapters import OBSERVED, RECEIVED, items, receipt, registry
from tests.contract.test_incident_tables import create
from tests.unit.paging_fakes import alert
from treeline.app.detect.dispatch import FleetSize
from treeline.app.ingest.ports import NumberedReceipt
from treeline.aws.detect.incidents import IncidentTable
from treeline.aws.detect.retirements import GroupRetirements, RetiredServers
from treeline.aws.explain.incident_tables import IncidentRows
from treeline.aws.ingest.observations import DynamoObservationStore
from treeline.aws.ingest.servers import fleet_size
from treeline.core.alert import AlertEvent
from treeline.core.errors import StateConflictError, UsageError
from treeline.core.times import iso

LATER = RECEIVED + 3_600_000  # when the command is given
SECURITY = (Path(__file__).parents[2] / "docs/security.md").read_text()


class Stage:
    """Stands for `DeployedStage`."""

    stage, arguments = "test", {}

    def __init__(self, client: object) -> None:
        self.dynamodb = client
        self.incidents = IncidentRows(client, "incidents")

    def client(self, service: str) -> object:
        return self.dynamodb

    def output(self, key: str) -> str:
        return key.removesuffix("Table").lower()


@pytest.fixture
def dynamodb(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with mock_aws():
        client = boto3.client("dynamodb")
        create(client, "servers", [("server_id", "S")])
        create(client, "controls", [("kind", "S"), ("id", "S")])
        create(client, "observations", [("server_id", "S"), ("observed_at", "S")])
        create(client, "incidents", [("incident_id", "S")], [("server_id", "S"), ("opened_at", "S")])
        registry(client).register([receipt("web-1"), receipt("web-2")])
        monkeypatch.setattr(command.DeployedStage, "of", lambda args: Stage(client))
        monkeypatch.setattr(command.time, "time_ns", lambda: LATER * 1_000_000)
        yield client


@pytest.fixture
def retire(dynamodb, capsys):
    """Runs the command; its exit code and its JSON."""

    def call(server: str = "web-1", *words: str, reason: str = "disk replaced"):
        capsys.readouterr()
        code = run(["server", "retire", server, "--reason", reason, "--by", "ann", "--json", *words])
        return code, json.loads(capsys.readouterr().out)

    return call


def observe(client: object, server_id: str, received_ms: int) -> None:
    """Store an observation, and have ingest note the server."""
    one = receipt(server_id, OBSERVED + received_ms - RECEIVED, received_ms)
    store = DynamoObservationStore(
        client, table="observations", ttl_s=60, threads=1, sleep=lambda _: None, random=lambda: 0.5
    )
    assert not store.append([NumberedReceipt(receipt=one, group=0)]).failed


def everything(client: object) -> list[list[dict]]:
    return [items(client, table) for table in ("servers", "controls")]


def test_it_is_recorded_with_the_server_and_found_by_its_group(dynamodb, retire):
    code, said = retire("web-1", "--yes")

    assert (code, said["changed"], said["open_incident"]) == (0, True, None)
    [found] = GroupRetirements(dynamodb, "controls").of(0)
    assert found.to_json() == said["retired"]
    assert (found.server_id, found.by, found.reason, found.retired_ms) == ("web-1", "ann", "disk replaced", LATER)
    row = dynamodb.get_item(TableName="servers", Key={"server_id": {"S": "web-1"}})["Item"]
    assert {row[f"retired_{what}"]["S"] for what in ("by", "reason", "at")} == {"ann", "disk replaced", iso(LATER)}
    assert GroupRetirements(dynamodb, "controls").of(1) == []
    assert fleet_size(dynamodb, "servers") == FleetSize(registered=2, retired=1)


def test_nothing_is_changed_without_a_yes(dynamodb, retire):
    before = everything(dynamodb)

    assert retire("web-1") == (1, {"retired": None, "changed": False, "open_incident": None})
    assert everything(dynamodb) == before


def test_a_dry_run_names_the_incident_that_would_end_and_a_server_that_still_sends(dynamodb, capsys):
    opened = alert(server_id="web-1")
    IncidentTable(dynamodb, "incidents").apply(opened)
    observe(dynamodb, "web-1", LATER - 5000)

    assert run(["server", "retire", "web-1", "--reason", "r", "--by", "ann"]) == 1
    said = capsys.readouterr().out
    assert f"Ends: {opened.incident_id}\n" in said
    assert "It still sends: stop its agent first" in said
    assert said.endswith("nothing changed (--yes retires it)\n")


def test_an_incident_that_is_over_is_not_named(dynamodb, retire):
    for event, sequence in ((AlertEvent.OPENED, 1), (AlertEvent.RESOLVED, 2)):
        IncidentTable(dynamodb, "incidents").apply(alert(event, sequence, server_id="web-1"))

    assert retire("web-1", "--yes")[1]["open_incident"] is None


def test_a_repetition_changes_nothing_and_says_who_did_it_before(dynamodb, retire):
    _, first = retire("web-1", "--yes")
    before = everything(dynamodb)
    code, again = retire("web-1", "--yes", reason="another reason")

    assert (code, again["changed"], again["retired"]) == (0, False, first["retired"])
    assert everything(dynamodb) == before


def test_a_server_that_is_back_counts_again_and_can_be_retired_again(dynamodb, retire):
    """Ingest notes it with `last_seen`; another worker that notes it too counts nothing twice."""
    retire("web-1", "--yes")
    workers = [registry(dynamodb) for _ in range(2)]
    for worker in workers:
        worker.register([receipt("web-1")])
    for after, worker in enumerate(workers, 1):
        worker.register([receipt("web-1", OBSERVED, LATER + after)])

    assert fleet_size(dynamodb, "servers") == FleetSize(registered=2, retired=0)
    observe(dynamodb, "web-1", LATER + 1)
    assert retire("web-1", "--yes")[1]["changed"]
    assert fleet_size(dynamodb, "servers") == FleetSize(registered=2, retired=1)


def test_what_was_received_before_the_retirement_does_not_count_it_again(dynamodb, retire):
    retire("web-1", "--yes")
    registry(dynamodb).register([receipt("web-1", OBSERVED, LATER)])

    assert fleet_size(dynamodb, "servers").retired == 1


def test_one_that_sent_again_within_ingests_quarter_hour_can_be_retired_again_and_counts_once(dynamodb, retire):
    """The agent was stopped too late, so it came back at once: the servers table does not know it yet."""
    retire("web-1", "--yes")
    observe(dynamodb, "web-1", LATER + 1)
    code, again = retire("web-1", "--yes", reason="now it is stopped")

    assert (code, again["changed"], again["retired"]["reason"]) == (0, True, "now it is stopped")
    assert fleet_size(dynamodb, "servers") == FleetSize(registered=2, retired=1)


def test_of_two_operators_one_retires_it(dynamodb):
    servers = RetiredServers(
        dynamodb, servers_table="servers", controls_table="controls", observations_table="observations"
    )
    before = servers.find("web-1")
    found = command.Retirement(server_id="web-1", group=0, reason="r", by="b", retired_ms=LATER)
    servers.put(found, before=before)
    with pytest.raises(StateConflictError, match="look again"):
        servers.put(found, before=before)

    assert fleet_size(dynamodb, "servers").retired == 1


@pytest.mark.parametrize("name", ["web-3", "#counter"])
def test_a_name_that_is_no_server_is_refused(retire, name):
    with pytest.raises(UsageError, match="knows no server"):
        retire(name, "--yes")


def test_the_command_calls_what_the_security_page_says_and_nothing_else(dynamodb, retire):
    """What an operator's role has to allow; a transaction needs the right to each of its writes."""
    calls = set()
    dynamodb.meta.events.register("before-call.dynamodb", lambda model, params, **_: calls.update(_rights(params)))
    IncidentTable(dynamodb, "incidents").apply(alert(server_id="web-1"))
    calls.clear()
    retire("web-1", "--yes")

    line = next(line for line in SECURITY.splitlines() if line.startswith("| retires servers"))
    told = set()
    for part in line.split("|")[2].replace(" and ", ", ").split("; "):
        actions, tables = part.split(" on ")
        table = tables.strip().split()[0]
        told |= {(action.removeprefix("dynamodb:"), table) for action in re.findall(r"`([\w:]+)`", actions)}
    assert calls == told


def _rights(params: dict) -> set[tuple[str, str]]:
    body, action = json.loads(params["body"]), params["headers"]["X-Amz-Target"].rpartition(".")[2]
    if action != "TransactWriteItems":
        return {(action, body["TableName"])}
    return {(f"{kind}Item", write["TableName"]) for entry in body["TransactItems"] for kind, write in entry.items()}
