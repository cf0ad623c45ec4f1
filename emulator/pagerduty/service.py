"""A stand-in for PagerDuty's Events API v2 on loopback: checks the contract, remembers, can be made to fail."""

import threading
import time
import uuid
from typing import Any

from emulator.loopback.gateway import Request, Response, json_response
from emulator.pagerduty.contract import change_errors, event_errors

_STATES = {"trigger": "triggered", "acknowledge": "acknowledged", "resolve": "resolved"}


class PagerDutyService:
    """The receiver's state: every request, and one alert per dedup key."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._received: list[dict[str, Any]] = []
        self._alerts: dict[str, dict[str, Any]] = {}
        self._failures: list[int] = []
        self._changes: list[dict[str, Any]] = []

    async def route(self, request: Request) -> Response:
        """Serve /_treeline/pagerduty/..."""
        path = request.path.removeprefix("/_treeline/pagerduty")
        with self._lock:
            match request.method, path:
                case "POST", "/v2/enqueue":
                    return self._enqueue(request.body)
                case "POST", "/v2/change/enqueue":
                    return self._change(request.body)
                case "GET", "/events":
                    return json_response(
                        {"events": self._received, "incidents": self._alerts, "changes": self._changes}
                    )
                case "POST", "/faults":
                    wanted = request.json()
                    self._failures += [int(wanted["status"])] * int(wanted["count"])
                    return json_response({})
                case "POST", "/clear":
                    self._received.clear()
                    self._alerts.clear()
                    self._changes.clear()
                    self._failures.clear()
                    return json_response({})
        return json_response({"error": f"no such path: {path}"}, 404)

    def _change(self, body: bytes) -> Response:
        """A change event pages nobody and opens nothing."""
        event, errors = change_errors(body)
        if errors:
            answer = {"status": "invalid event", "message": "Event object is invalid", "errors": errors}
            return json_response(answer, 400)
        self._changes.append({"at": time.time(), "event": event})
        return json_response({"status": "success", "message": "Change event processed"}, 202)

    def _enqueue(self, body: bytes) -> Response:
        event, errors = event_errors(body)
        if self._failures:
            status = self._failures.pop(0)
            errors = ["injected fault"]
        else:
            status = 400 if errors else 202
        dedup_key = event.get("dedup_key") or uuid.uuid4().hex
        self._received.append({"at": time.time(), "status": status, "event": event, "errors": errors})
        match status:
            case 202:
                self._apply(event, dedup_key)
                return json_response({"status": "success", "message": "Event processed", "dedup_key": dedup_key}, 202)
            case 400:
                message = "Event object is invalid"
                return json_response({"status": "invalid event", "message": message, "errors": errors}, 400)
            case 429:
                return Response(
                    429, b'{"status":"throttle exceeded","message":"Too many requests"}', {"retry-after": "1"}
                )
        return Response(status, b"", {})

    def _apply(self, event: dict[str, Any], dedup_key: str) -> None:
        action = event["event_action"]
        alert = self._alerts.get(dedup_key)
        if action == "trigger":
            payload = event["payload"]
            if alert is None or alert["state"] == "resolved":
                alert = {"triggers": 0, "opened": (alert or {}).get("opened", 0) + 1}
            state = alert.get("state", "triggered")
            self._alerts[dedup_key] = alert | {
                "state": state,
                "severity": payload["severity"],
                "summary": payload["summary"],
                "source": payload["source"],
                "triggers": alert["triggers"] + 1,
            }
        elif alert is not None and alert["state"] != "resolved":
            alert["state"] = _STATES[action]
