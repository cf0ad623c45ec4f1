"""Serves the page from the embedded cloud: /_treeline/dashboard, one tab a deployed dashboard."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

from emulator.dashboard import data
from emulator.dashboard.page import nothing_deployed, page
from emulator.loopback.clients import ClientOf
from emulator.loopback.gateway import ADMIN, Request, Response

PATH = "dashboard"
_LONGEST = timedelta(hours=3)


class DashboardPage:
    """The route; what takes time runs beside the server's loop, which answers its calls."""

    def __init__(self, clients: ClientOf, born: float) -> None:
        self._clients = clients
        self._born = datetime.fromtimestamp(born, UTC)  # nothing was measured before the cloud started

    async def route(self, request: Request) -> Response:
        """GET /_treeline/dashboard[/name]."""
        wanted = request.path.removeprefix(f"{ADMIN}{PATH}").strip("/")
        html = await asyncio.to_thread(render, self._clients, wanted, now=datetime.now(UTC), since=self._born)
        return Response(200, html.encode(), {"content-type": "text/html; charset=utf-8"})


def render(clients: ClientOf, wanted: str, *, now: datetime, since: datetime, linked: bool = True) -> str:
    """The page of one dashboard by its short name; of the first when `wanted` names none."""
    names = data.dashboards(clients)
    if not names:
        return nothing_deployed()
    name = wanted if wanted in names else next(iter(names))
    start = max(since, now - _LONGEST)
    shown = data.load(clients, names[name], start=start, end=now)
    step_s = data.step(now - start)
    told = f"{names[name]} · embedded cloud, {now:%Y-%m-%d %H:%M:%S} UTC · a point is {step_s} s here, 60 s on AWS"
    links = {other: f"{ADMIN}{PATH}/{other}" for other in names} if linked else {}
    return page(name, list(names), shown, told=told, links=links)


def save(clients: ClientOf, directory: Path, *, since: datetime) -> list[Path]:
    """Write every dashboard as it is now to `directory`/NAME.html; the files need no network."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for name in data.dashboards(clients):
        path = directory / f"{name}.html"
        path.write_text(render(clients, name, now=datetime.now(UTC), since=since, linked=False), encoding="utf-8")
        paths.append(path)
    return paths
