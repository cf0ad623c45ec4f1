"""The reading before the others, server by server: what hygiene leaves out of a history that is to be learned from."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.history.files import History
from training.history.grid import Grid
from training.history.labels import FLEET
from training.prepare.hygiene import Disturbances, Exclusion, apply, imputed, usual
from training.prepare.source import HistorySource
from training.prepare.suspicion import HOUR_MS, hourly, suspected
from training.processes import Progress


@dataclass(frozen=True, slots=True)
class Survey:
    """What is left out, and how to leave it out."""

    exclusions: Mapping[str, Sequence[Exclusion]]  # by server and "fleet"; gaps are found later, window by window
    usually: Mapping[str, NDArray[np.bool_]]  # which metrics each server usually reports, (metrics,)

    def all_exclusions(self) -> list[Exclusion]:
        """Of every server and the fleet."""
        return [exclusion for own in self.exclusions.values() for exclusion in own]

    def without(self, grid: Grid) -> Grid:
        """One server's history without what is left out of it."""
        (server,) = grid.servers
        return apply(grid, [*self.exclusions.get(server, ()), *self.exclusions.get(FLEET, ())])

    def clean(self, window: Grid) -> tuple[Grid, list[Exclusion]]:
        """A window without what is left out, and the gaps in it, which are left out as well."""
        cleaned = apply(window, self.all_exclusions())
        gaps = imputed(cleaned, self.usually)
        return apply(cleaned, gaps), gaps


def survey(
    source: HistorySource, coarser: Iterable[History], known: Disturbances, progress: Progress = lambda *_: None
) -> Survey:
    """Read a history once for what people say about it, and for what nobody said.

    `coarser` is the same fleet's earlier months, which intervals that people name may lie in.
    """
    servers, metrics = source.servers, source.metrics
    span = source.start_ms, source.end_ms
    earliest = min([span[0], *(history.start_ms for history in coarser)])
    told = _by_server(known.exclusions(servers, (earliest, span[1])))
    said, usually = Survey(told, {}), {}
    first_hour = span[0] // HOUR_MS
    hours = np.arange(first_hour, span[1] // HOUR_MS + 1)
    means = np.full((len(hours), len(servers), len(metrics)), np.nan, dtype=np.float32)
    for row, server in enumerate(servers):
        grid = said.without(source.of_server(row))
        usually[server] = usual(grid.values[:, 0])
        own_hours, own_means = hourly(grid)
        means[own_hours - first_hour, row] = own_means[:, 0]
        progress("survey", (row + 1) / len(servers))
    found = suspected(servers, metrics, hours, means, span)
    return Survey(_by_server([*said.all_exclusions(), *found]), usually)


def _by_server(found: Iterable[Exclusion]) -> dict[str, list[Exclusion]]:
    by_server: dict[str, list[Exclusion]] = {}
    for exclusion in found:
        by_server.setdefault(exclusion.server_id, []).append(exclusion)
    return by_server
