"""What Prepare hands to Evaluate: the prepared training set, the fleet's newest days, and what is known about both."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training.history.grid import Grid
from training.prepare.hygiene import from_manifest, to_manifest
from training.prepare.preparation import Learned, Prepared, fingerprint
from treeline.core.errors import ModelMismatchError
from treeline.core.expectation.local_time import Zones
from treeline.core.profile import from_json, to_json
from treeline.core.state.fleet import FleetState

PREPARED, RECENT, FACTS = "prepared.npz", "recent.npz", "fleet.json"
FORMAT = 5
LEAD_IN_MS = 4 * 86_400_000  # the champion's running averages get used to the present before it is judged


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetFile:
    """What prepare hands to evaluate."""

    prepared: Prepared  # what calibration needs; its training rows are those the forest was given
    recent: Grid  # the held-out part and up to LEAD_IN_MS before it, what hygiene took out already missing
    groups: Mapping[str, int]  # by server of the recent part: the group in which it is decided
    holdout_from_ms: int  # the first held-out time
    # What was trained on and what was left out, for the model package.
    manifest: dict[str, Any] = field(default_factory=dict)

    def holdout(self, *, lead_in_ms: int = 0) -> Grid:
        """The held-out part, with up to `lead_in_ms` of what came before it."""
        grid = self.recent
        start = int(np.searchsorted(grid.times_ms, self.holdout_from_ms - lead_in_ms))
        return replace(grid, times_ms=grid.times_ms[start:], values=grid.values[start:])

    def unlearned(self) -> Grid:
        """What of the recent past no forest was grown on: kept apart of the training part, and the held-out part."""
        prepared, grid = self.prepared, self.recent
        column = {server: place for place, server in enumerate(prepared.state.servers)}
        values = grid.values.copy()
        for place, server in enumerate(grid.servers):
            own = column.get(server)
            kept_apart = None if own is None else prepared.times_ms[prepared.held_out[:, own]]
            from_ms = self.holdout_from_ms if kept_apart is None or not len(kept_apart) else int(kept_apart[0])
            values[grid.times_ms < from_ms, place] = np.nan
        return replace(grid, values=values)

    def write(self, folder: Path) -> None:
        """Write all files; the folder is made."""
        folder.mkdir(parents=True, exist_ok=True)
        prepared, learned, recent = self.prepared, self.prepared.learned, self.recent
        np.savez(
            folder / PREPARED,
            times_ms=prepared.times_ms,
            rows=prepared.rows,
            magnitudes=prepared.magnitudes,
            held_out=prepared.held_out,
            training_rows=prepared.training_rows,
            state=np.frombuffer(prepared.state.pack(), dtype=np.uint8),
        )
        np.savez_compressed(folder / RECENT, times_ms=recent.times_ms, values=recent.values)
        facts = {
            "format": FORMAT,
            "servers": list(recent.servers),
            "groups": [self.groups[server] for server in recent.servers],
            "metrics": list(recent.metrics),
            "timezone": recent.zones.default,
            "zones": dict(recent.zones.own),
            "declared": json.loads(to_json(recent.metric_declarations)),
            "step_s": recent.step_s,
            "holdout_from_ms": self.holdout_from_ms,
            "fingerprint": fingerprint(prepared.training_rows),
            "manifest": {
                "from_ms": learned.from_ms,
                "to_ms": learned.to_ms,
                "observations": learned.observations,
                "left_out": to_manifest(learned.left_out),
                **self.manifest,
            },
        }
        (folder / FACTS).write_text(json.dumps(facts, indent=1), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> "FleetFile":
        """Read what `write` wrote.

        Raises:
            ModelMismatchError: It is not there, of another version, or its rows are not those the forest was given.
        """
        try:
            facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
            prepared, recent = (_arrays(folder / name) for name in (PREPARED, RECENT))
        except (OSError, ValueError) as error:
            raise ModelMismatchError(f"prepare left no fleet in {folder}: {error}") from error
        if facts.get("format") != FORMAT:
            raise ModelMismatchError(f"the fleet file has format {facts.get('format')}, this code needs {FORMAT}")
        if fingerprint(prepared["training_rows"]) != facts["fingerprint"]:
            raise ModelMismatchError("the training rows of this fleet are not those that the forest was given")
        metrics, step_s = tuple(facts["metrics"]), facts["step_s"]
        return cls(
            prepared=_prepared(prepared, facts),
            recent=Grid(
                recent["times_ms"],
                tuple(facts["servers"]),
                metrics,
                recent["values"],
                step_s,
                Zones(facts["timezone"], facts["zones"]),
                from_json(facts["declared"]),
            ),
            groups=dict(zip(facts["servers"], facts["groups"], strict=True)),
            holdout_from_ms=facts["holdout_from_ms"],
            manifest=facts["manifest"],
        )


def _arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _prepared(arrays: Mapping[str, npt.NDArray[Any]], facts: Mapping[str, Any]) -> Prepared:
    manifest = facts["manifest"]
    return Prepared(
        metrics=tuple(facts["metrics"]),
        step_s=facts["step_s"],
        state=FleetState.unpack(arrays["state"].tobytes()),
        times_ms=arrays["times_ms"],
        rows=arrays["rows"],
        magnitudes=arrays["magnitudes"],
        held_out=arrays["held_out"],
        training_rows=arrays["training_rows"],
        learned=Learned(
            from_ms=manifest["from_ms"],
            to_ms=manifest["to_ms"],
            observations=manifest["observations"],
            left_out=tuple(from_manifest(manifest["left_out"])),
        ),
    )
