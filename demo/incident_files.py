"""A run's incidents in a folder, so that `treeline explain` works when the cloud they were found in is gone.

`incidents.json` (changes by incident), `series.npz` (observations and scores of the servers that had one and of some
that had none, and the origins of their incidents), `package.zip` and `model.tar.gz`.
"""

import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from treeline.app.detect.origin import Origin
from treeline.app.detect.override import Override
from treeline.app.explain.incident_source import LATEST_MS, IncidentSource, Observed, Score, ScoredPath
from treeline.core.alert import Alert
from treeline.core.detection.policy import FLEET
from treeline.core.errors import ModelMismatchError, ScorerUnavailableError, UsageError
from treeline.core.model.package import ModelPackage
from treeline.core.times import iso, parse_iso
from treeline.forest.forest import RandomCutForest
from treeline.forest.storage import read_model_tar, write_model_tar

FOLDER = "incidents"
MAX_SERVERS = 200
_SUGGESTED = 5  # names shown where the one that was given means nothing
MAX_QUIET = 40  # reading a server's scores takes up to a second
_INDEX, _SERIES, _PACKAGE, _FOREST = "incidents.json", "series.npz", "package.zip", "model.tar.gz"
_SCORED = ("observed_at", "status", "score", "severity", "features", "common")


def save(
    folder: Path,
    source: IncidentSource,
    incidents: Mapping[str, Sequence[Alert]],
    *,
    package: ModelPackage,
    forest: RandomCutForest,
    watched: tuple[int, int],  # first and last event time of the run, ms
    server_count: int,  # how many were watched
    quiet: Sequence[str] = (),
) -> int:
    """Write the incidents (changes by incident) and all that is stored of their servers into `folder`, made if missing.

    The series of `quiet` servers are kept too, as far as there is room, so that what did not page can be explained.
    Gives how many servers' series were kept: MAX_SERVERS at most, those with an incident first.
    """
    folder.mkdir(parents=True, exist_ok=True)
    eventful = sorted({alerts[0].server_id for alerts in incidents.values() if alerts} - {FLEET})
    servers = list(dict.fromkeys([*eventful, *quiet[:MAX_QUIET]]))[:MAX_SERVERS]
    arrays: dict[str, Any] = {}
    for number, server_id in enumerate(servers):
        path = source.scored(server_id, 0, LATEST_MS, model_version=package.model_version)
        observed = source.observations(server_id, 0, LATEST_MS, package.metrics)
        arrays |= {f"{number}/scored/{name}": getattr(path, name) for name in _SCORED}
        arrays |= {f"{number}/at": observed.observed_at, f"{number}/values": observed.values}
        for i, origin in enumerate(path.origins):
            arrays[f"{number}/origin/{i}"] = np.frombuffer(origin.pack(), dtype=np.uint8)
    np.savez_compressed(folder / _SERIES, **arrays)
    index = {
        "model_version": package.model_version,
        "servers": servers,
        "watched": list(watched),
        "server_count": server_count,
        "incidents": {name: [alert.to_json() for alert in alerts] for name, alerts in incidents.items()},
    }
    (folder / _INDEX).write_text(json.dumps(index) + "\n", encoding="utf-8")
    (folder / _PACKAGE).write_bytes(package.to_bytes())
    (folder / _FOREST).write_bytes(write_model_tar(forest))
    return len(servers)


class IncidentFolder:
    """Reads what `save` wrote; see `treeline.app.explain.incident_source.IncidentSource`.

    `run` is the run's folder, or the one within it that holds the incidents; raises UsageError where there are none.
    """

    def __init__(self, run: Path) -> None:
        self._folder = run / FOLDER if (run / FOLDER).is_dir() else run
        try:
            self._index: dict[str, Any] = json.loads((self._folder / _INDEX).read_text(encoding="utf-8"))
            self._series = np.load(self._folder / _SERIES, allow_pickle=False)
        except FileNotFoundError as error:
            raise UsageError(
                f"{run} holds no incidents of a run: there is no {error.filename} (`treeline demo` writes it)"
            ) from error
        except (OSError, ValueError) as error:
            raise UsageError(f"{run} holds no incidents of a run ({error})") from error

    def watched(self) -> tuple[int, int]:
        """The event times the run covers, [start, end)."""
        first, last = self._index["watched"]
        return int(first), int(last) + 1

    def server_count(self) -> int:
        """How many servers the run watched."""
        return int(self._index["server_count"])

    def incidents(self) -> dict[str, list[Alert]]:
        """All, with their changes."""
        return {
            name: [Alert.from_json(body) for body in alerts]
            for name, alerts in self._index["incidents"].items()
            if alerts
        }

    def incident(self, incident_id: str) -> list[Alert]:
        """An incident's changes in order; raises UsageError where there is no such incident."""
        found = self._index["incidents"].get(incident_id)
        if not found:
            server = incident_id.rpartition("/")[0] or incident_id
            known = sorted(self._index["incidents"])
            near = [name for name in known if name.startswith((f"{server}/", incident_id))] or known
            more = f" and {len(near) - _SUGGESTED} more" if len(near) > _SUGGESTED else ""
            there = f"there are: {', '.join(near[:_SUGGESTED])}{more}" if near else "the run opened none"
            raise UsageError(f"there is no incident {incident_id!r} in {self._folder}; {there}")
        return [Alert.from_json(body) for body in found]

    def incidents_of(self, server_id: str, start_ms: int, end_ms: int) -> list[str]:
        """Ids of a server's incidents that opened in [start, end], in order of their opening."""
        opened = [
            (parse_iso(alerts[0].clocks.observed_at), name)
            for name, alerts in self.incidents().items()
            if alerts[0].server_id == server_id
        ]
        return [name for at, name in sorted(opened) if start_ms <= at <= end_ms]

    def model_at(self, server_id: str, at_ms: int) -> str | None:
        """The run's model, of a server whose series was kept."""
        return None if self._number(server_id) is None else str(self._index["model_version"])

    def missing(self, server_id: str) -> str:
        """Whose series the run kept, the names like this one first; or, of such a server, from when to when."""
        number = self._number(server_id)
        if number is not None:
            at = self._series[f"{number}/scored/observed_at"]
            return f"its scores are of {iso(int(at[0]))} to {iso(int(at[-1]))}" if len(at) else "it was never scored"
        servers: list[str] = self._index["servers"]
        near = get_close_matches(server_id, servers, _SUGGESTED, 0.6)
        like = f"; like that name: {', '.join(near)}" if near else ""
        return f"the run kept the series of {len(servers)} of its {self.server_count()} servers, not of that one{like}"

    def scored(self, server_id: str, start_ms: int, end_ms: int, *, model_version: str) -> ScoredPath:
        """What was scored of a server in [start, end]."""
        number = self._number(server_id)
        if number is None:
            return ScoredPath.of((), server_id, start_ms, end_ms)
        columns = {name: self._series[f"{number}/scored/{name}"] for name in _SCORED}
        within = (columns["observed_at"] >= start_ms) & (columns["observed_at"] <= end_ms)
        prefix = f"{number}/origin/"
        origins = tuple(
            Origin.unpack(self._series[name].tobytes()) for name in self._series.files if name.startswith(prefix)
        )
        at, status, score, severity, features, common = (columns[name][within] for name in _SCORED)
        return ScoredPath(at, status, score, severity, features, common, origins)

    def observations(self, server_id: str, start_ms: int, end_ms: int, metrics: tuple[str, ...]) -> Observed:
        """The observations of a server in [start, end]."""
        number = self._number(server_id)
        if number is None:
            return Observed(np.empty(0, np.int64), np.empty((0, len(metrics)), np.float32))
        at, values = self._series[f"{number}/at"], self._series[f"{number}/values"]
        within = (at >= start_ms) & (at <= end_ms)
        return Observed(at[within], values[within])

    def package(self, model_version: str) -> ModelPackage:
        """The run's model package."""
        try:
            package = ModelPackage.from_bytes((self._folder / _PACKAGE).read_bytes())
        except OSError as error:
            raise ModelMismatchError(f"the model package: {error}") from error
        if package.model_version != model_version:
            raise ModelMismatchError(f"the run keeps model {package.model_version}, not {model_version}")
        return package

    def override(self, id_: str) -> Override:
        """Never asked for: nobody overrides anything in a run."""
        raise ModelMismatchError(f"a run keeps no overrides, and so not {id_}")

    def scorer(self, model_version: str) -> tuple[Score, str]:
        """The run's forest."""
        path = self._folder / _FOREST
        try:
            return read_model_tar(path.read_bytes()).score, str(path)
        except OSError as error:
            raise ScorerUnavailableError(f"the forest: {error}") from error

    def _number(self, server_id: str) -> int | None:
        servers: list[str] = self._index["servers"]
        return servers.index(server_id) if server_id in servers else None
