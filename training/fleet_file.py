"""A fleet's history between the steps of a training run: one compressed array file, and what is known about it."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from training.fit import Grid
from treeline.core.errors import ModelMismatchError

GRID, FACTS = "fleet.npz", "fleet.json"
FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetFile:
    """What prepare hands to evaluate.

    Attributes:
        grid: Training window and held-out part, what hygiene took out already missing.
        holdout_from_ms: The first held-out time.
        fingerprint: Of the training rows the forest was given.
        manifest: What was trained on and what was left out, for the model package.
    """

    grid: Grid
    holdout_from_ms: int
    fingerprint: str
    manifest: dict[str, Any] = field(default_factory=dict)

    def training(self) -> Grid:
        """The part to learn from."""
        return self._part(0, self._cut)

    def holdout(self, *, lead_in_ms: int = 0) -> Grid:
        """The held-out part, with up to `lead_in_ms` of what came before it."""
        start = int(np.searchsorted(self.grid.times_ms, self.holdout_from_ms - lead_in_ms))
        return self._part(start, len(self.grid.times_ms))

    @property
    def _cut(self) -> int:
        return int(np.searchsorted(self.grid.times_ms, self.holdout_from_ms))

    def _part(self, start: int, stop: int) -> Grid:
        grid = self.grid
        return replace(grid, times_ms=grid.times_ms[start:stop], values=grid.values[start:stop])

    def write(self, folder: Path) -> None:
        """Write both files; the folder is made."""
        folder.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(folder / GRID, times_ms=self.grid.times_ms, values=self.grid.values)
        facts = {
            "format": FORMAT,
            "servers": list(self.grid.servers),
            "metrics": list(self.grid.metrics),
            "step_s": self.grid.step_s,
            "holdout_from_ms": self.holdout_from_ms,
            "fingerprint": self.fingerprint,
            "manifest": self.manifest,
        }
        (folder / FACTS).write_text(json.dumps(facts, indent=1), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> "FleetFile":
        """Read what `write` wrote; raises ModelMismatchError when it is not there or of another version."""
        try:
            facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
            with np.load(folder / GRID, allow_pickle=False) as arrays:
                times_ms, values = arrays["times_ms"], arrays["values"]
        except (OSError, ValueError, KeyError) as error:
            raise ModelMismatchError(f"prepare left no fleet in {folder}: {error}") from error
        if facts.get("format") != FORMAT:
            raise ModelMismatchError(f"the fleet file has format {facts.get('format')}, this code needs {FORMAT}")
        grid = Grid(times_ms, tuple(facts["servers"]), tuple(facts["metrics"]), values, facts["step_s"])
        return cls(
            grid=grid,
            holdout_from_ms=facts["holdout_from_ms"],
            fingerprint=facts["fingerprint"],
            manifest=facts["manifest"],
        )
