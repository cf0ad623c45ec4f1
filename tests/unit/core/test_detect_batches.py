"""What detect does with a batch of ticks: groups fail alone, and nothing that can be read waits for what cannot."""

import json
from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError

from lambdas.detect.composition import Composition
from treeline.aws.observability import Telemetry
from treeline.core.errors import ModelMismatchError, ScorerUnavailableError, StateConflictError


class Service:
    """Runs what it is told, per group."""

    def __init__(self, faults, read=()):
        self.faults = faults
        self.read = read
        self.ran = []

    def has_read(self, group, *, asked_ms, since_ms):
        return (group, asked_ms) in self.read

    def run(self, tick, outcome, *, until_ms):
        self.ran.append((tick.group, tick.since))
        outcome.scored, outcome.commits = 7, 1
        if tick.group in self.faults:
            raise self.faults[tick.group]
        return outcome


class Queue:
    def __init__(self):
        self.returned = []

    def change_message_visibility(self, *, QueueUrl, ReceiptHandle, VisibilityTimeout):  # noqa: N803 - AWS's names
        assert 10 <= VisibilityTimeout <= 30
        self.returned.append(ReceiptHandle)


def message(number, body):
    attributes = {"SentTimestamp": str(1000 * number)}
    return {"messageId": f"m{number}", "receiptHandle": f"r{number}", "body": body, "attributes": attributes}


def tick(number, group, since=None):
    return message(number, json.dumps({"group": group, "since": since, "cause": "observations"}))


def handle(records, faults=None, read=()):
    service, queue = Service(faults or {}, read), Queue()
    composition = Composition(
        service=service,
        settings=SimpleNamespace(endpoint_retry_s=20, tick_queue_url="q"),
        telemetry=Telemetry("detect", "test"),
        sqs=queue,
    )
    response = composition.handle(records, SimpleNamespace(aws_request_id="1"))
    return service, queue, [entry["itemIdentifier"] for entry in response["batchItemFailures"]]


def test_ticks_of_one_group_are_one_run_from_the_oldest_on():
    service, _, failed = handle(
        [tick(1, 3, "2026-01-02T00:00:00Z"), tick(2, 3, "2026-01-01T00:00:00Z"), tick(3, 3), tick(4, 1)]
    )
    assert service.ran == [(1, None), (3, "2026-01-01T00:00:00Z")]
    assert failed == []


def test_a_tick_that_asks_for_what_this_worker_has_read_starts_nowhere():
    """Else each of a backlog's ticks reads the whole backlog again."""
    service, _, failed = handle(
        [tick(1, 3, "2026-01-01T00:00:00Z"), tick(2, 3, "2026-01-02T00:00:00Z")], read={(3, 1000)}
    )
    assert service.ran == [(3, "2026-01-02T00:00:00Z")]
    assert failed == []


@pytest.mark.parametrize(
    "error",
    [
        StateConflictError("contended"),
        ModelMismatchError("wrong model"),
        ClientError({"Error": {"Code": "ProvisionedThroughputExceededException"}}, "PutItem"),
    ],
)
def test_a_group_that_fails_does_not_keep_the_others_waiting(error):
    service, queue, failed = handle([tick(1, 0), tick(2, 1), tick(3, 1), tick(4, 2)], {1: error})
    assert [group for group, _ in service.ran] == [0, 1, 2]
    assert failed == ["m2", "m3"]
    assert queue.returned == ["r2", "r3"], "they come back soon, not after the queue's visibility timeout"


def test_what_was_committed_before_an_error_is_counted(capsys):
    """Else the dashboards show fewer scored than stored, and the page that went out has no latency."""
    handle([tick(1, 0)], {0: StateConflictError("contended")})
    metrics = json.loads([line for line in capsys.readouterr().out.splitlines() if '"_aws"' in line][-1])
    assert metrics["ObservationsScored"] == [7.0]


def test_ticks_come_back_later_while_the_scorer_is_down():
    _, queue, failed = handle([tick(1, 0), tick(2, 1)], {1: ScorerUnavailableError("down")})
    assert (queue.returned, failed) == (["r2"], ["m2"])


@pytest.mark.parametrize("body", ["", "{", "[]", "{}", '{"group": "x"}', '{"group": null}', "7"])
def test_a_tick_that_cannot_be_read_fails_alone(body):
    service, _, failed = handle([message(1, body), tick(2, 5)])
    assert ([group for group, _ in service.ran], failed) == ([5], ["m1"])
