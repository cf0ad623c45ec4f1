"""Application Auto Scaling as far as endpoints need it: targets and policies are kept, nothing is scaled."""

import json
import threading
from typing import Any

from emulator.loopback.gateway import Request, Response

_PREFIX = "AnyScaleFrontendService."
_TYPE = {"content-type": "application/x-amz-json-1.1"}


class ScalableTargets:
    """The API actions, and the one rule that meets the promotion workflow: a scaled variant cannot be removed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._targets: dict[str, dict[str, Any]] = {}
        self._policies: dict[tuple[str, str], dict[str, Any]] = {}

    def is_scaled(self, endpoint: str, variant: str) -> bool:
        """Whether a variant is a scalable target."""
        with self._lock:
            return f"endpoint/{endpoint}/variant/{variant}" in self._targets

    async def route(self, request: Request) -> Response:
        """Serve one request."""
        action = request.headers.get("x-amz-target", "").removeprefix(_PREFIX)
        status, body = self._answer(action, request.json())
        return Response(status, json.dumps(body).encode(), dict(_TYPE))

    def _answer(self, action: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        resource = str(body.get("ResourceId", ""))
        with self._lock:
            match action:
                case "RegisterScalableTarget":
                    self._targets[resource] = {**self._targets.get(resource, {}), **body}
                    return 200, {"ScalableTargetARN": f"arn:aws:application-autoscaling:::scalable-target/{resource}"}
                case "DescribeScalableTargets":
                    wanted = body.get("ResourceIds") or list(self._targets)
                    return 200, {"ScalableTargets": [self._targets[r] for r in wanted if r in self._targets]}
                case "DescribeScalingPolicies":
                    return 200, {"ScalingPolicies": [p for (r, _), p in self._policies.items() if r == resource]}
            if resource not in self._targets:
                message = f"No scalable target found for {resource}"
                return 400, {"__type": "ObjectNotFoundException", "message": message}
            match action:
                case "DeregisterScalableTarget":
                    del self._targets[resource]
                    self._policies = {k: v for k, v in self._policies.items() if k[0] != resource}
                    return 200, {}
                case "PutScalingPolicy":
                    self._policies[resource, body["PolicyName"]] = body
                    return 200, {"PolicyARN": f"arn:aws:autoscaling:::scalingPolicy:{resource}", "Alarms": []}
        return 400, {"__type": "UnknownOperationException", "message": f"{action} is not served"}
