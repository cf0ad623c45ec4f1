"""The one HTTP port: our own paths first, ministack for the rest."""

import json
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]
ADMIN = "/_treeline/"


@dataclass(frozen=True, slots=True)
class Request:
    """A request that is read in full; header names in lower case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """The body as a JSON object; {} when empty."""
        return dict(json.loads(self.body)) if self.body else {}


@dataclass(frozen=True, slots=True)
class Response:
    """What is sent back."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


Route = Callable[[Request], Awaitable[Response]]


def json_response(value: object, status: int = 200) -> Response:
    """`value` as application/json."""
    return Response(status, json.dumps(value, default=str).encode(), {"content-type": "application/json"})


class Gateway:
    """An ASGI app that sends a request to our route with the longest matching prefix, else to ministack."""

    def __init__(self, inner: AsgiApp) -> None:
        self._inner = inner
        self._routes: dict[str, Route] = {}
        self._services: dict[bytes, Route] = {}

    def add_service(self, signing_name: str, route: Route) -> None:
        """Serve every request signed for a service, in the place of ministack."""
        self._services[f"/{signing_name}/aws4_request".encode()] = route

    def add(self, prefix: str, route: Route) -> None:
        """Serve every path that starts with /_treeline/`prefix`."""
        self._routes[ADMIN + prefix] = route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event."""
        route = self._route(scope) if scope["type"] == "http" else None
        if route is None:
            await self._inner(scope, receive, send)
            return
        request = await _read(scope, receive)
        try:
            response = await route(request)
        except Exception as error:  # noqa: BLE001 -- a fault of ours must answer, not hang the caller
            response = json_response({"error": f"{type(error).__name__}: {error}"}, 500)
        headers = [(k.encode("latin-1"), v.encode("latin-1")) for k, v in response.headers.items()]
        headers.append((b"content-length", str(len(response.body)).encode()))
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": response.body})

    def _route(self, scope: Scope) -> Route | None:
        path = scope["path"]
        if path.startswith(ADMIN):
            matches = [prefix for prefix in self._routes if path.startswith(prefix)]
            return self._routes[max(matches, key=len)] if matches else _unknown
        for name, value in scope["headers"]:
            if name.lower() == b"authorization":
                return next((route for scope_of, route in self._services.items() if scope_of in value), None)
        return None


async def _unknown(request: Request) -> Response:
    return json_response({"error": f"no such administrative path: {request.path}"}, 404)


async def _read(scope: Scope, receive: Receive) -> Request:
    body = bytearray()
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False) and message["type"] == "http.request"
    return Request(
        method=scope["method"],
        path=unquote(scope["path"]),
        query=dict(parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)),
        headers={k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]},
        body=bytes(body),
    )
