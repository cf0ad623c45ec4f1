"""The model package: everything detection needs beside the forest itself, in one versioned file.

A zip of `manifest.json` and the seeds: the detector state at the end of training, one row a server, in members of
`treeline.core.model.seeds`.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from treeline.core.arrays import Axis, Home
from treeline.core.detection.calibration import Calibration
from treeline.core.detection.features import feature_names
from treeline.core.errors import ModelMismatchError
from treeline.core.expectation import rolling_limits
from treeline.core.expectation.peers import NOBODY
from treeline.core.formats import require_format
from treeline.core.model.seeds import SeedFile, members_of, read_member
from treeline.core.state import format_2
from treeline.core.state.fleet import FleetState
from treeline.core.state.layout import todays_layout
from treeline.core.statistics import FloatArray

FORMAT = 4  # 2 did not name its channels; up to 3 the forest was grown on other rows, and its score measured otherwise
MOST_SEED_BYTES = 24_000_000  # in memory; of 5,000 servers of 4 metrics, of 600 of 38
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
    seed_file: SeedFile | None = None  # where seeds are read from that are not in memory; None: all are

    @property
    def has_todays_rows(self) -> bool:
        """Whether the forest was grown on rows as this code makes them; else detection goes on without its score."""
        return self.features == feature_names(self.metrics)

    def scoring(self, score: Score) -> Score:
        """The forest as it can score today's rows: a score of 0 for each where it was grown on others."""
        return score if self.has_todays_rows else lambda rows: np.zeros(len(rows))

    @property
    def rolling_window_s(self) -> float:
        """Length of the rolling window that everything is expected by; 0: each series by what training chose for it."""
        return self.seeds.rolling_window_s

    @property
    def step_ms(self) -> int:
        """The sampling step in milliseconds."""
        return round(self.step_s * 1000)

    def new_state(self) -> FleetState:
        """An empty state for a group under this model."""
        return FleetState(len(self.metrics), layout=self.seeds.layout)

    def fetch(self, servers: Iterable[str]) -> None:
        """Have the seeds of these servers in memory, of those that the model knows.

        Raises ModelMismatchError where the file is damaged.
        """
        if self.seed_file is None:
            return
        missing = set(servers) - set(self.seeds.servers)
        parts = self.seed_file.read(missing)
        if not parts:
            return
        for part in parts:
            _require_width(part, self.metrics)
        if sum(array.nbytes for array in self.seeds.arrays().values()) > MOST_SEED_BYTES:
            parts = [*parts, *self.seed_file.read(set(servers) - missing)]
            self.seeds.take_over(FleetState.joined(parts))
        else:
            self.seeds.take_over(FleetState.joined([self.seeds, *parts]))

    def attach(self, state: FleetState, *homes: Home) -> None:
        """Give a state's servers what is not stored with it but in this package.

        Args:
            state: Of this model; changed in place. A server that the model has not met, or that came back under the
                name of a retired one, keeps what it has: blank, these arrays say nothing. What an older version did not
                store of it is as training left it, once.
            homes: Which arrays; those of `Home.PACKAGE` where none is named. `Home.TABLE` gives the seasonal table as
                training left it, over which `Records.fill` reads what was learned since.
        """
        self.fetch(state.servers)
        known = self.seeds.rows()
        unmet = state.is_unmet
        rows = [(row, known[server]) for row, server in enumerate(state.servers) if server in known and not unmet[row]]
        if not rows:
            return
        here, there = np.array(rows, dtype=np.intp).T
        names = {spec.name for spec in state.layout.only(*homes or (Home.PACKAGE,)).arrays} | state.lacking
        for name in names & self.seeds.arrays().keys():
            state.arrays()[name][here] = self.seeds.arrays()[name][there]
        state.lacking = frozenset()
        if not homes or Home.PACKAGE in homes:  # peers are rows of training; in this state they have others, or none
            trained = known if self.seed_file is None else self.seed_file.rows
            row_of = np.full(len(trained) + 1, NOBODY, dtype=np.int32)
            for row, server in enumerate(state.servers):
                if not unmet[row]:
                    row_of[trained.get(server, NOBODY)] = row
            row_of[NOBODY] = NOBODY
            state.peer_rows[here] = row_of[self.seeds.peer_rows[there]]

    def admit(self, state: FleetState, servers: list[str]) -> None:
        """Give servers their rows in a state: seeded where the model knows them, else warming up."""
        self.fetch(servers)
        known = self.seeds.rows()
        first = len(state.servers)
        state.add(servers)
        for row, server in enumerate(servers, start=first):
            if server in known:
                state.set_row(row, self.seeds.row_values(known[server]))
            else:
                state.set_row(row, {name: np.asarray(value, np.float32) for name, value in self.typical.items()})
        self.attach(state)

    def begin_anew(self, state: FleetState, row: int) -> None:
        """Forget all of a server that was retired: its row is as that of one that the model has not met.

        `opened_at` stays: the next incident of this name says which one it follows. The seasonal table stays because
        nothing reads it: such a server is expected by its trailing day until a model is trained on it.
        """
        opened_at = int(state.opened_at[row])
        for spec in state.layout.only(Home.STATE, Home.PACKAGE).arrays:
            state.arrays()[spec.name][row] = state.layout.blank(spec, 1, state.metrics)[0]
        state.set_row(row, {name: np.asarray(value, np.float32) for name, value in self.typical.items()})
        state.opened_at[row] = opened_at
        state.is_unmet[row] = 1

    def to_bytes(self) -> bytes:
        """Serialize; equal packages give equal bytes."""
        members = dict(members_of(self.seeds))
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
            "members_sha256": {name: hashlib.sha256(data).hexdigest() for name, data in members.items()},
            "training": self.manifest,
        }
        if self.rolling_window_s:
            layout = self.seeds.layout
            manifest |= {"rolling_window_s": layout.rolling_window_s, "rolling_parts": layout.rolling_parts}
        members["manifest.json"] = json.dumps(manifest, indent=1, sort_keys=True).encode()
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in members.items():
                archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> "ModelPackage":
        """Read a package whole, of this or an earlier format; raises ModelMismatchError for what does not fit."""
        package = cls.open(io.BytesIO(data))
        if package.seed_file is None:
            return package
        package.fetch(package.seed_file.rows)
        return replace(package, seed_file=None)

    @classmethod
    def open(cls, file: BinaryIO) -> "ModelPackage":
        """Read a package of this or an earlier format, but its seeds only as far as they are asked for (`fetch`).

        Args:
            file: Stays open as long as the package is used; it is read at any place.

        Raises:
            ModelMismatchError: It names what does not fit this code.
        """
        try:
            archive = zipfile.ZipFile(file)
            manifest = dict(json.loads(read_member(archive, "manifest.json")))
        except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError, TypeError) as error:
            raise ModelMismatchError(f"not a model package: {error}") from error
        found = require_format("model package", manifest.get("format"), newest=FORMAT, oldest=2)
        if found == 2:
            manifest["channels"] = list(format_2.LAYOUT.channels)
        missing = sorted(_FIELDS - set(manifest))
        if missing:
            raise ModelMismatchError(f"model package: the manifest lacks {', '.join(missing)}")
        metrics = tuple(manifest["metrics"])
        if found < 4:
            seeds, seed_file = (
                FleetState.unpack(read_member(archive, "seeds.bin", manifest.get("seeds_sha256", ""))),
                None,
            )
        else:
            layout = todays_layout(
                float(manifest.get("rolling_window_s", 0.0)), int(manifest.get("rolling_parts", rolling_limits.PARTS))
            )
            seeds = FleetState(len(metrics), layout=layout)
            seed_file = SeedFile.of(archive, manifest.get("members_sha256"))
        _require_width(seeds, metrics)
        return cls(
            model_version=manifest["model_version"],
            metrics=metrics,
            features=tuple(manifest["features"]),
            step_s=manifest["step_s"],
            calibration=Calibration.from_json(manifest["calibration"]),
            seeds=seeds,
            typical=_typical(manifest["typical"], manifest["channels"]),
            fingerprint=manifest["fingerprint"],
            manifest=manifest["training"],
            seed_file=seed_file,
        )

    def require_metrics(self, metrics: tuple[str, ...]) -> None:
        """Raise ModelMismatchError unless the deployment's metric set is the model's, in order."""
        if metrics != self.metrics:
            raise ModelMismatchError(
                f"model {self.model_version} was trained on {self.metrics}, this deployment watches {metrics}"
            )


def _require_width(seeds: FleetState, metrics: tuple[str, ...]) -> None:
    if seeds.metrics != len(metrics):
        raise ModelMismatchError(
            f"model package: seeds have {seeds.metrics} metrics, the manifest names {len(metrics)}"
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
