"""Refuse emulated AWS calls on request, with the error body of the service's own protocol."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

Answer = tuple[int, dict[str, str], bytes]
Handler = Callable[[str, str, dict[str, str], bytes, dict[str, list[str]]], Awaitable[Answer]]


@dataclass(slots=True)
class Fault:
    """One refusal: `action` "*" means every action, `count` None means until cleared."""

    service: str
    action: str
    error: str
    status: int
    count: int | None


class ServiceFaults:
    """The faults in force; wrap ministack's handlers with `wrap`."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self.refused = 0

    def add(self, fault: Fault) -> None:
        """Put a fault in force."""
        self._faults.append(fault)

    def clear(self) -> int:
        """Take all back; returns how many calls were refused since the last clearing."""
        refused, self.refused = self.refused, 0
        self._faults.clear()
        return refused

    def wrap(self, service: str, handler: Handler) -> Handler:
        """A handler that refuses what the faults in force name and passes the rest on."""

        async def handle(
            method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, list[str]]
        ) -> Answer:
            if self._faults:
                fault = self._take(service, _action(service, method, headers, body, query))
                if fault is not None:
                    return _refusal(fault, headers)
            return await handler(method, path, headers, body, query)

        return handle

    def _take(self, service: str, action: str) -> Fault | None:
        for fault in self._faults:
            if fault.service == service and fault.action in ("*", action):
                if fault.count is not None:
                    fault.count -= 1
                    if fault.count <= 0:
                        self._faults.remove(fault)
                self.refused += 1
                return fault
        return None


def _action(service: str, method: str, headers: dict[str, str], body: bytes, query: dict[str, list[str]]) -> str:
    target = headers.get("x-amz-target", "")
    if target:
        return target.rsplit(".", 1)[-1]
    if "Action" in query:
        return query["Action"][0]
    if service == "s3":
        return {"PUT": "PutObject", "GET": "GetObject", "DELETE": "DeleteObject"}.get(method, method)
    for part in body[:4096].split(b"&"):
        if part.startswith(b"Action="):
            return part[7:].decode()
    return method


def _refusal(fault: Fault, headers: dict[str, str]) -> Answer:
    message = f"injected fault: {fault.error}"
    if "json" in headers.get("content-type", ""):
        payload: dict[str, Any] = {"__type": fault.error, "message": message}
        sent = {"Content-Type": "application/x-amz-json-1.0", "x-amzn-errortype": fault.error}
        return fault.status, sent, json.dumps(payload).encode()
    kind = "Sender" if fault.status < 500 else "Receiver"
    error = f"<Error><Type>{kind}</Type><Code>{fault.error}</Code><Message>{message}</Message></Error>"
    xml = error if fault.service == "s3" else f"<ErrorResponse>{error}<RequestId>fault</RequestId></ErrorResponse>"
    return fault.status, {"Content-Type": "application/xml"}, xml.encode()
