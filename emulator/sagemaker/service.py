"""The service behind both SageMaker endpoints: routes requests, checks parameters, words the errors."""

import asyncio
import json
import re
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import botocore.session
from botocore.model import ListShape, MapShape, Shape, StructureShape
from botocore.validate import ParamValidator

from emulator.loopback.clients import ClientOf
from emulator.loopback.gateway import Request, Response, json_response
from emulator.sagemaker.errors import ServiceError, validation
from emulator.sagemaker.events import EventBus
from emulator.sagemaker.faults import HostFault, HostFaults
from emulator.sagemaker.hosting import Endpoints
from emulator.sagemaker.hosting_capture import Captures
from emulator.sagemaker.hosting_scaling import ScalableTargets
from emulator.sagemaker.measurements import InvocationMetrics
from emulator.sagemaker.models import EndpointConfigs, Models
from emulator.sagemaker.pipelines import Pipelines
from emulator.sagemaker.processing import ProcessingJobs
from emulator.sagemaker.registry import ModelPackageGroups
from emulator.sagemaker.store import Action, Resource, Store
from emulator.sagemaker.training import TrainingJobs

_INVOCATION = re.compile(r"^/endpoints/([^/]+)/invocations$")
_JSON = {"content-type": "application/x-amz-json-1.1"}
DEFAULT_DELAYS = {"training_s": 0.0, "creating_s": 0.2, "updating_s": 0.2, "deleting_s": 0.1}


class SageMaker:
    """Control plane and runtime.

    A further group of actions (model packages, pipelines) is a class with `actions()`, added in the constructor.
    """

    def __init__(self, clients: ClientOf, endpoint_url: str) -> None:
        lock = threading.RLock()
        self._announce = EventBus().announce
        self._delays = dict(DEFAULT_DELAYS)
        self._faults = HostFaults()
        models = Models(lock)
        configs = EndpointConfigs(lock, models)
        self._training = TrainingJobs(lock, clients, endpoint_url, self._announce, self._delays)
        self.scaling = ScalableTargets()
        self._metrics = InvocationMetrics()
        self._endpoints = Endpoints(
            Store("Endpoint", "endpoint", lock),
            configs,
            models,
            clients,
            self._announce,
            self._delays,
            self._faults,
            Captures(clients),
            self.scaling,
        )
        self._actions: dict[str, Action] = {}
        self._processing = ProcessingJobs(lock, clients, endpoint_url, self._announce)
        registry = ModelPackageGroups(Store("ModelPackageGroup", "model-package-group", lock), clients, self._announce)
        pipelines = Pipelines(Store("Pipeline", "pipeline", lock), self.call, clients, self._announce)
        for group in (models, configs, self._training, self._endpoints, self._processing, registry, pipelines):
            self._actions |= group.actions()
        self._model = botocore.session.get_session().get_service_model("sagemaker")

    async def route(self, request: Request) -> Response:
        """Serve one request, off the event loop: it may read S3 from this very server."""
        return await asyncio.to_thread(self._serve, request)

    async def handle(
        self, method: str, path: str, headers: dict[str, str], body: bytes, query: Any
    ) -> tuple[int, dict[str, str], bytes]:
        """The same in the form of a ministack service handler, which Step Functions calls."""
        response = await self.route(Request(method, path, {}, {k.lower(): v for k, v in headers.items()}, body))
        return response.status, response.headers, response.body

    def call(self, action: str, parameters: Mapping[str, Any]) -> Resource:
        """Perform an API action; raises ServiceError."""
        handler = self._actions.get(action)
        shape = self._model.operation_model(action).input_shape if handler else None
        if handler is None or shape is None:
            raise ServiceError("UnknownOperationException", f"{action} is not served by the embedded cloud")
        request = coerce(shape, parameters)
        report = ParamValidator().validate(request, shape)
        if report.has_errors():
            raise validation(report.generate_report())
        return handler(request)

    def end(self) -> None:
        """End the processes of running jobs."""
        self._training.end()
        self._processing.end()

    def _serve(self, request: Request) -> Response:
        target = request.headers.get("x-amz-target", "")
        try:
            invocation = _INVOCATION.match(unquote(request.path))
            if invocation and not target:
                return self._invoke(invocation.group(1), request)
            action = target.rsplit(".", 1)[-1]
            answer = self.call(action, json.loads(request.body or b"{}"))
            return Response(200, json.dumps(answer, default=str).encode(), _JSON)
        except ServiceError as error:
            told = {"__type": error.code, "message": error.message, "Message": error.message, **error.details}
            return Response(error.status, json.dumps(told).encode(), _JSON | {"x-amzn-errortype": error.code})

    def _invoke(self, name: str, request: Request) -> Response:
        headers = request.headers
        with self._metrics.of(name) as measured:
            answer = self._endpoints.invoke(
                name,
                request.body,
                headers.get("content-type", "text/csv"),
                headers.get("accept", "application/json"),
                headers.get("x-amzn-sagemaker-target-variant"),
            )
            measured.variant = answer.variant
        return Response(
            200, answer.body, {"content-type": answer.content_type, "x-amzn-invoked-production-variant": answer.variant}
        )

    async def admin(self, request: Request) -> Response:
        """Serve /_treeline/sagemaker/..."""
        match request.method, request.path.removeprefix("/_treeline/sagemaker"):
            case "GET", "":
                return json_response(
                    {"invocations": dict(self._endpoints.invocations), "faults": self._faults.snapshot()}
                )
            case "POST", "/faults":
                self._faults.add(HostFault(**request.json()))
                return json_response({})
            case "POST", "/clear":
                self._faults.clear(request.json().get("endpoint"))
                return json_response({})
            case "POST", "/delays":
                wanted = request.json()
                unknown = sorted(set(wanted) - set(self._delays))
                if unknown:
                    return json_response({"error": f"no delay is called {unknown[0]}"}, 400)
                self._delays.update({k: float(v) for k, v in wanted.items()})
                return json_response({})
        return json_response({"error": "no such path"}, 404)


def coerce(shape: Shape, value: Any) -> Any:
    """Give values the types of the API's model: templates and state machines write numbers as text."""
    match shape:
        case StructureShape() if isinstance(value, Mapping):
            return {k: coerce(shape.members[k], v) if k in shape.members else v for k, v in value.items()}
        case ListShape() if isinstance(value, list):
            return [coerce(shape.member, v) for v in value]
        case MapShape() if isinstance(value, Mapping):
            return {k: coerce(shape.value, v) for k, v in value.items()}
    match shape.type_name:
        case "integer" | "long" if isinstance(value, str) and value.lstrip("-").isdigit():
            return int(value)
        case "float" | "double" if isinstance(value, (str, int)):
            try:
                return float(value)
            except ValueError:
                return value
        case "boolean" if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
    return value
