"""The model package: everything detection needs beside the forest itself, in one versioned file.

A zip of `manifest.json` and `seeds.bin` (the detector state at the end of training, one row a server).
"""

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from treeline.core.arrays import Axis, Home
from treeline.core.channels.score import ScoreChannel
from treeline.core.detection.calibration import Calibration
from treeline.core.detection.features import feature_names
from treeline.core.errors import ModelMismatchError
from treeline.core.formats import require_format
from treeline.core.state import format_2
from treeline.core.state.fleet import FleetState
from treeline.core.state.layout import todays_layout
from treeline.core.statistics import FloatArray

FORMAT = 4  # 2 did not name its channels; up to 3 the forest was grown on other rows, and its score measured otherwise
_FIELDS = {
    "model_version",
    "metrics",
    "features",
    "step_s",
    "calibration",
    "channels",
    "typical",
    "fingerprint",
    "training",
}
Score = Callable[[npt.NDArray[np.float32]], FloatArray]
Typical = dict[str, float | list[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPackage:
    """A trained model's baselines, calibration and provenance."""

    model_version: str  # names the model everywhere; unique
    metrics: tuple[str, ...]  # names in the order of every metrics axis
    features: tuple[str, ...]  # names in the order of the rows that the forest was grown on
    step_s: float  # sampling step the model was trained at
    calibration: Calibration  # channel mapping
    seeds: FleetState  # state at the end of training; its rows are copied into the state of a group on first sight
    typical: Typical  # values by name for a server the model has not met (medians over the fleet)
    fingerprint: str  # SHA-256 of the training rows, first 16 hexadecimal digits
    # What was trained on, with what, and what was left out and why.
    manifest: dict[str, Any] = field(default_factory=dict)

    @property
    def has_todays_rows(self) -> bool:
        """Whether the forest was grown on rows as this code makes them; else detection goes on without its score."""
        return self.features == feature_names(self.metrics)

    def scoring(self, score: Score) -> Score:
        """The forest as it can score today's rows: a score of 0 for each where it was grown on others."""
        return score if self.has_todays_rows else lambda rows: np.zeros(len(rows))

    @property
    def step_ms(self) -> int:
        """The sampling step in milliseconds."""
        return round(self.step_s * 1000)

    def new_state(self) -> FleetState:
        """An empty state for a group under this model."""
        return FleetState(len(self.metrics), layout=self.seeds.layout)

    def attach(self, state: FleetState, *homes: Home) -> None:
        """Give a state's servers what is not stored with it but in this package.

        Args:
            state: Of this model; changed in place. A server that the model has not met keeps what it has: blank, these
                arrays say nothing.
            homes: Which arrays; those of `Home.PACKAGE` where none is named. `Home.TABLE` gives the seasonal table as
                training left it, over which `Records.fill` reads what was learned since.
        """
        known = self.seeds.rows()
        rows = [(row, known[server]) for row, server in enumerate(state.servers) if server in known]
        if not rows:
            return
        here, there = np.array(rows, dtype=np.intp).T
        for spec in state.layout.only(*homes or (Home.PACKAGE,)).arrays:
            state.arrays()[spec.name][here] = self.seeds.arrays()[spec.name][there]

    def admit(self, state: FleetState, servers: list[str]) -> None:
        """Give servers their rows in a state: seeded where the model knows them, else warming up."""
        known = self.seeds.rows()
        first = len(state.servers)
        state.add(servers)
        for row, server in enumerate(servers, start=first):
            if server in known:
                state.set_row(row, self.seeds.row_values(known[server]))
            else:
                state.set_row(row, {name: np.asarray(value, np.float32) for name, value in self.typical.items()})

    def to_bytes(self) -> bytes:
        """Serialize; equal packages give equal bytes."""
        manifest = {
            "format": FORMAT,
            "model_version": self.model_version,
            "metrics": list(self.metrics),
            "features": list(self.features),
            "step_s": self.step_s,
            "calibration": self.calibration.to_json(),
            "channels": list(self.seeds.layout.channels),
            "typical": self.typical,
            "fingerprint": self.fingerprint,
            "seeds_sha256": hashlib.sha256(self.seeds.pack()).hexdigest(),
            "training": self.manifest,
        }
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in (
                ("manifest.json", json.dumps(manifest, indent=1, sort_keys=True).encode()),
                ("seeds.bin", self.seeds.pack()),
            ):
                archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> "ModelPackage":
        """Read a package of this or an earlier format; raises ModelMismatchError naming what does not fit this code."""
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                manifest = json.loads(archive.read("manifest.json"))
                seeds = archive.read("seeds.bin")
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, KeyError, ValueError) as error:
            raise ModelMismatchError(f"not a model package: {error}") from error
        found = require_format("model package", manifest.get("format"), newest=FORMAT, oldest=2)
        if found == 2:
            manifest["channels"] = list(format_2.LAYOUT.channels)
        if manifest.get("seeds_sha256") != (check_sum := hashlib.sha256(seeds).hexdigest()):
            raise ModelMismatchError(
                f"model package: seeds_sha256 is {manifest.get('seeds_sha256')}, found {check_sum}"
            )
        if found < 4 and "calibration" in manifest:
            manifest["calibration"] = {**manifest["calibration"], "score_channel": ScoreChannel.LEVEL}
        missing = sorted(_FIELDS - set(manifest))
        if missing:
            raise ModelMismatchError(f"model package: the manifest lacks {', '.join(missing)}")
        state = FleetState.unpack(seeds)
        if state.metrics != len(manifest["metrics"]):
            raise ModelMismatchError(
                f"model package: seeds have {state.metrics} metrics, the manifest names {len(manifest['metrics'])}"
            )
        return cls(
            model_version=manifest["model_version"],
            metrics=tuple(manifest["metrics"]),
            features=tuple(manifest["features"]),
            step_s=manifest["step_s"],
            calibration=Calibration.from_json(manifest["calibration"]),
            seeds=state,
            typical=_typical(manifest["typical"], manifest["channels"]),
            fingerprint=manifest["fingerprint"],
            manifest=manifest["training"],
        )

    def require_metrics(self, metrics: tuple[str, ...]) -> None:
        """Raise ModelMismatchError unless the deployment's metric set is the model's, in order."""
        if metrics != self.metrics:
            raise ModelMismatchError(
                f"model {self.model_version} was trained on {self.metrics}, this deployment watches {metrics}"
            )


def _typical(stored: Typical, channels: list[str]) -> Typical:
    """The values by name that today's states have an array for, with one value a channel for today's channels."""
    layout, typical = todays_layout(), dict[str, float | list[float]]()
    for spec in layout.arrays:
        value = stored.get(spec.name)
        if isinstance(value, list) and Axis.CHANNELS in spec.axes:
            known = dict(zip(channels, value, strict=True))
            value = [float(known.get(channel, spec.initial or 0.0)) for channel in layout.channels]
        if value is not None:
            typical[spec.name] = value
    return typical
