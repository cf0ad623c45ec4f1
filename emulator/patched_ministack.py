"""ministack, with our own in place of what it lacks or does otherwise; runs in the process that `serve` starts.

Import only there, with the environment of emulator.loopback.environment set: ministack reads it at import.
Every private name of ministack used here and in the pollers is asserted in tests/emulator/test_ministack_names.py.
"""

import asyncio
import os
import resource
import time
from pathlib import Path
from typing import Any

from ministack import app as ministack_app
from ministack.core import lambda_runtime
from ministack.core.responses import request_scope
from ministack.services import kinesis, lambda_svc, stepfunctions
from ministack.services.cloudformation import provisioners

from emulator.dashboard.service import DashboardPage
from emulator.delivery.counters import Counters
from emulator.delivery.kinesis_poller import KinesisPoller
from emulator.delivery.sqs_poller import SqsPoller
from emulator.delivery.worker_script import amended
from emulator.dynamodb.install import install as install_dynamodb
from emulator.loopback.clients import clients_of
from emulator.loopback.environment import ACCOUNT_ID, REGION
from emulator.loopback.gateway import Gateway, Request, Response, json_response
from emulator.monitoring import composite_alarms
from emulator.monitoring.alarms import AlarmEvaluator
from emulator.monitoring.function_logs import FunctionLogs, function_lines
from emulator.pagerduty.service import PagerDutyService
from emulator.permissions.calls import record_state_machines
from emulator.sagemaker.service import SageMaker
from emulator.sagemaker.templates import resource_handlers
from emulator.service_faults import Fault, ServiceFaults


class Emulator:
    """ministack, patched, and the parts that run beside it."""

    def __init__(self, endpoint_url: str) -> None:
        self._started_at = time.time()
        self._faults = ServiceFaults()
        self._counters = Counters()
        self._client = clients_of(endpoint_url)
        self._kinesis = KinesisPoller(self._counters, self._client)
        self._alarms = AlarmEvaluator(self._counters, self._client)
        self._sagemaker = SageMaker(self._client, endpoint_url)
        self.app = Gateway(ministack_app.app)
        self._patch()
        self.app.add_service("sagemaker", self._sagemaker.route)
        self.app.add_service("application-autoscaling", self._sagemaker.scaling.route)
        self.app.add("sagemaker", self._sagemaker.admin)
        self.app.add("pagerduty", PagerDutyService().route)
        self.app.add("dashboard", DashboardPage(self._client, self._started_at).route)
        self.app.add("logs", self._logs)
        self.app.add("status", self._status)
        self.app.add("faults", self._fault)
        self.app.add("functions/kill", self._kill)

    def _patch(self) -> None:
        install_dynamodb()
        lambda_runtime._PYTHON_WORKER_SCRIPT = amended(lambda_runtime._PYTHON_WORKER_SCRIPT)
        for service, handler in list(ministack_app.SERVICE_HANDLERS.items()):
            ministack_app.SERVICE_HANDLERS[service] = self._faults.wrap(service, handler)
        ministack_app.SERVICE_HANDLERS["sagemaker"] = self._sagemaker.handle
        stepfunctions._AWS_SDK_SERVICE_MAP["sagemaker"] = {"target_prefix": "SageMaker", "protocol": "json"}
        provisioners._RESOURCE_HANDLERS.update(resource_handlers(self._sagemaker))
        provisioners._RESOURCE_HANDLERS[composite_alarms.TYPE] = composite_alarms.resource_handler()
        lambda_svc._poll_kinesis = lambda: False
        lambda_svc._poll_sqs = lambda: False
        kinesis._expire_records = _expire_records
        FunctionLogs(self._counters).install()
        record_state_machines()
        self._alarms.install()
        provisioners._RESOURCE_HANDLERS["Custom::S3AutoDeleteObjects"] = {
            "create": lambda logical_id, props, stack: (logical_id, {}),
            "delete": lambda physical_id, props: None,
        }

    async def started(self) -> None:
        """Return when ministack has its main loop, which is when it serves."""
        while ministack_app._MAIN_LOOP is None:
            await asyncio.sleep(0.005)
        self._kinesis.start()
        SqsPoller(self._counters).start()
        self._alarms.start()

    def stop(self) -> None:
        """End the Lambda workers and the training jobs."""
        self._sagemaker.end()
        lambda_runtime.reset()

    async def _status(self, request: Request) -> Response:
        return json_response(
            {
                "pid": os.getpid(),
                "uptime_s": round(time.time() - self._started_at, 3),
                "resident_bytes": resident_bytes(),
                "peak_resident_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                "counters": self._counters.snapshot(),
                "kinesis_backlog": self._kinesis.backlog(),
                "kinesis_records": self._kinesis.kept(),
                "workers": {k: len(v) for k, v in lambda_runtime._workers.items()},
            }
        )

    async def _logs(self, request: Request) -> Response:
        with request_scope(ACCOUNT_ID, REGION):
            lines = function_lines(request.query.get("function", ""), int(request.query.get("limit", "10000")))
        return json_response({"lines": lines})

    async def _fault(self, request: Request) -> Response:
        if request.path.endswith("/clear"):
            return json_response({"refused": self._faults.clear()})
        self._faults.add(Fault(**request.json()))
        return json_response({})

    async def _kill(self, request: Request) -> Response:
        wanted = request.json()
        killed = 0
        for key, workers in list(lambda_runtime._workers.items()):
            if key.split(":")[2] != wanted["function"]:
                continue
            for worker in workers:
                if worker._proc is not None and (worker.in_use or not wanted["when_busy"]):
                    worker._proc.kill()
                    killed += 1
        return json_response({"killed": killed})


def _expire_records(stream: dict[str, Any]) -> None:
    """As ministack's, without copying every list on every put: records are in order of arrival."""
    cutoff = time.time() - stream["RetentionPeriodHours"] * 3600
    for shard in stream["shards"].values():
        records = shard["records"]
        if records and records[0]["ApproximateArrivalTimestamp"] < cutoff:
            shard["records"] = [r for r in records if r["ApproximateArrivalTimestamp"] >= cutoff]


def resident_bytes() -> int:
    """Resident memory of this process."""
    with Path("/proc/self/statm").open() as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
