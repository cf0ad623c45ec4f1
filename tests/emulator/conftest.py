import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from emulator.deployment.deploy import DeployReport
from emulator.launcher import EmbeddedCloud
from tests.emulator.small_stack import write_assembly


class SmallSystem:
    """The small stack, deployed, with the verbs the tests speak."""

    def __init__(self, cloud: EmbeddedCloud, report: DeployReport) -> None:
        self.cloud = cloud
        self.report = report

    def put(self, *bodies: dict, key: str = "same-shard") -> None:
        records = [{"Data": json.dumps(body).encode(), "PartitionKey": key} for body in bodies]
        for start in range(0, len(records), 500):
            self.cloud.client("kinesis").put_records(StreamName="small", Records=records[start : start + 500])

    def send(self, *bodies: dict) -> None:
        for body in bodies:
            self.cloud.client("sqs").send_message(QueueUrl=self.report.output("WorkUrl"), MessageBody=json.dumps(body))

    def stored(self, number: object) -> dict | None:
        found = self.cloud.client("dynamodb").get_item(TableName="small", Key={"id": {"S": str(number)}})
        return {k: v["S"] for k, v in found["Item"].items()} if "Item" in found else None

    def messages(self, output: str) -> list[dict]:
        """Take every message that is in the queue now."""
        taken, url = [], self.report.output(output)
        while (
            received := self.cloud.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages")
        ):
            for message in received:
                taken.append(json.loads(message["Body"]))
                self.cloud.client("sqs").delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return taken


def wait_for(probe: Callable[[], Any], timeout_s: float = 120.0) -> Any:
    """The first true answer of `probe`; `timeout_s` is for what never happens, not for how fast a machine is."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if found := probe():
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {timeout_s} s")


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallSystem]:
    folder = tmp_path_factory.mktemp("small")
    with EmbeddedCloud(directory=folder / "cloud") as cloud:
        system = SmallSystem(cloud, cloud.deploy(write_assembly(folder / "assembly")))
        # Both functions are warm before a test measures anything.
        system.put({"n": "warm"})
        system.send({"n": "warm-queue"})
        wait_for(lambda: system.stored("warm") and system.stored("warm-queue"))
        yield system


@pytest.fixture(autouse=True)
def _no_faults(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "small" in request.fixturenames:
        system = request.getfixturevalue("small")
        system.cloud.faults.clear()
        system.cloud.pagerduty.clear()
