"""One experiment: fit on the unlabelled train part of a history, detect in its test part, judge against labels.

The fit and the detection are the pipeline's own; the forest grows from the same bytes as in a training job.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from training.evaluate.backtest import Backtest, backtest
from training.evaluate.judge import TierQuality, evaluate_tiers
from training.evaluate.pages import Opening, Tier
from training.evaluate.pointwise import Pointwise, judge_points
from training.history.files import History
from training.history.grid import Grid, both_grids
from training.prepare.calibrating import calibrate_package
from training.prepare.preparation import prepare
from training.processes import Progress, workers_for
from treeline.core.alert import AlertEvent
from treeline.core.detection.calibration import Calibration
from treeline.core.detection.policy import Change, PolicySettings
from treeline.core.errors import SettingsError, UsageError
from treeline.core.expectation.local_time import Zones
from treeline.core.model.package import ModelPackage
from treeline.core.times import DEFAULT_ZONE, iso
from treeline.forest import recordio
from treeline.forest.forest import RandomCutForest
from treeline.forest.training import fit_channel
from treeline.settings.pipeline import Expecting
from treeline.settings.values import read

GROUP_SIZE = 50
MIN_TRAIN_TIMES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What may differ between experiments; the defaults are what is shipped.

    Attributes:
        policy: When severities become incidents.
        calibration: What is laid over the fit's own, as `Calibration.to_json` names it: by channel its thresholds.
        threshold_factor: Every threshold of the calibration times this.
        num_trees, num_samples_per_tree: Of the forest.
        seed: Of the choice of training rows.
        forest_seed: Of the forest; SageMaker's algorithm has none, the embedded one starts from 0.
        group_size: Servers that share a fleet cycle.
        timezone: By whose clocks servers keep their habits.
        rolling_window_s: Of the rolling window that every series is expected by; 0: each by what training chooses.
    """

    policy: PolicySettings = field(default_factory=PolicySettings)
    calibration: Mapping[str, Any] = field(default_factory=dict)
    threshold_factor: float = 1.0
    num_trees: int = 50
    num_samples_per_tree: int = 512
    seed: int = 7
    forest_seed: int = 0
    group_size: int = GROUP_SIZE
    timezone: str = DEFAULT_ZONE
    rolling_window_s: float = 0.0

    @classmethod
    def read(cls, path: Path, *, seed: int = 7) -> "Setup":
        """Read a stage file (config/*.yaml) or one with the same keys.

        `detection.policy` overrides the policy, `detection.timezone` says by whose clocks servers keep their habits,
        `detection.expectation` and `detection.rolling_window_s` what observations are held against, `model` the rest:
        `num_trees`, `num_samples_per_tree`, `calibration` (channel by channel), `threshold_factor`. Other keys of a
        stage file do not concern a backtest.

        Raises:
            UsageError: The file cannot be read, or a value is out of range.
        """
        try:
            body = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise UsageError(f"--config {path} is not a readable YAML file: {_one_line(error)}") from error
        if not isinstance(body, dict):
            raise UsageError(f"--config {path} holds {type(body).__name__}, expected keys such as detection and model")
        try:
            model = dict(body.get("model") or {})
            calibration = model.pop("calibration", None) or {}
            unknown = sorted(set(model) - _MODEL_KEYS)
            if unknown:
                raise UsageError(
                    f"--config {path}: model.{unknown[0]} is unknown; "
                    f"there are calibration, {', '.join(sorted(_MODEL_KEYS))}"
                )
            detection = body.get("detection") or {}
            expecting = {key: detection[key] for key in ("expectation", "rolling_window_s") if key in detection}
            return cls(
                policy=read(PolicySettings, detection.get("policy") or {}, "detection.policy"),
                timezone=Zones(detection.get("timezone", DEFAULT_ZONE)).default,
                rolling_window_s=read(Expecting, expecting, "detection").trained_window_s,
                calibration=_checked(calibration),
                seed=seed,
                **model,
            )
        except (UsageError, SettingsError, TypeError, KeyError, ValueError, AttributeError) as error:
            raise UsageError(f"--config {path}: {_one_line(error)}") from error


_MODEL_KEYS = {"num_trees", "num_samples_per_tree", "threshold_factor"}


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _checked(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Values to lay over a calibration; raises SettingsError for those that fit no calibration."""
    shipped = Calibration()
    unknown = sorted(set(given) - set(shipped.to_json()))
    if unknown:
        raise SettingsError(f"model.calibration.{unknown[0]} is unknown; there are {', '.join(shipped.to_json())}")
    wide = {name: {"p2": np.finfo(float).tiny, "p1": np.inf} for name in shipped.thresholds}
    _overlaid(shipped, {name: wide[name] | value if name in wide else value for name, value in given.items()})
    return given


def _overlaid(calibration: Calibration, given: Mapping[str, Any]) -> Calibration:
    """A calibration with some values replaced, the others as they were."""
    body = calibration.to_json()
    for name, value in given.items():
        body[name] = body[name] | value if isinstance(body[name], dict) else value
    return Calibration.from_json(body)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentOutcome:
    """What one detector did on the test part, judged; `evaluations` and `points` say nothing without labels."""

    name: str
    grid: Grid
    backtest: Backtest
    openings: tuple[Opening, ...]
    evaluations: Mapping[Tier, TierQuality]
    points: Pointwise


def split_grids(history: History, timezone: str = DEFAULT_ZONE) -> tuple[Grid, Grid]:
    """The part to train on and the part to detect in, of servers in a time zone.

    Raises:
        UsageError: One of them is too short.
    """
    past, present = both_grids(history)
    if len(past.times_ms) < MIN_TRAIN_TIMES:
        raise UsageError(
            f"{history.path} has {len(past.times_ms)} times to train on (split by {history.split_by}); "
            f"at least {MIN_TRAIN_TIMES} are needed"
        )
    zones = Zones(timezone)
    return replace(past, zones=zones), replace(present, zones=zones)


def fit_model(
    past: Grid, setup: Setup, *, model_version: str = "backtest", progress: Progress = lambda *_: None
) -> tuple[ModelPackage, RandomCutForest]:
    """A model package and its forest, as training makes them.

    Raises:
        UsageError: The history is too short for the forest asked for.
    """
    workers = workers_for(past.values.size)
    groups = groups_of(past, setup.group_size)
    prepared = prepare(
        past,
        seed=setup.seed,
        groups=groups,
        rolling_window_s=setup.rolling_window_s,
        workers=workers,
        progress=progress,
    )
    forest = grow_forest(prepared.training_rows, setup)
    package = calibrate_package(
        prepared,
        forest.score,
        model_version=model_version,
        samples_per_tree=forest.num_samples_per_tree,
        workers=workers,
        progress=progress,
    )
    return with_thresholds_of(setup, package), forest


def with_thresholds_of(setup: Setup, package: ModelPackage) -> ModelPackage:
    """The package with the setup's values laid over its thresholds, and its factor on all of them.

    Raises:
        UsageError: A value given for one tier does not fit the fitted one of the other.
    """
    try:
        calibration, factor = _overlaid(package.calibration, setup.calibration), setup.threshold_factor
    except SettingsError as error:
        raise UsageError(f"model.calibration, beside the thresholds that were fitted: {error}") from error
    moved = calibration.moved(lambda k: replace(k, p2=k.p2 * factor, p1=k.p1 * factor))
    return replace(package, calibration=moved)


def grow_forest(rows: np.ndarray[Any, np.dtype[np.float32]], setup: Setup) -> RandomCutForest:
    """The forest that a training job makes of these rows."""
    body = recordio.encode(rows)
    hyperparameters = {
        "feature_dim": str(rows.shape[1]),
        "num_trees": str(setup.num_trees),
        "num_samples_per_tree": str(setup.num_samples_per_tree),
    }
    return fit_channel([("application/x-recordio-protobuf", body)], hyperparameters, setup.forest_seed)


def groups_of(grid: Grid, group_size: int = GROUP_SIZE) -> dict[str, int]:
    """Server -> group, as ingest numbers servers: in order of their first observation, ties by name."""
    first = np.where(grid.present().any(axis=0), grid.present().argmax(axis=0), len(grid.times_ms))
    order = sorted(range(len(grid.servers)), key=lambda column: (int(first[column]), grid.servers[column]))
    return {grid.servers[column]: number // group_size for number, column in enumerate(order)}


def run_experiment(
    history: History,
    setup: Setup,
    *,
    with_bands: bool = False,
    with_measures: bool = False,
    progress: Progress = lambda *_: None,
) -> tuple[ExperimentOutcome, Grid, ModelPackage]:
    """Fit, detect and judge.

    Returns:
        The outcome, the train part and the model.

    Raises:
        UsageError: The history cannot be used.
    """
    past, present = split_grids(history, setup.timezone)
    package, forest = fit_model(past, setup, progress=progress)
    done = backtest(
        package,
        present,
        forest.score,
        setup.policy,
        groups=groups_of(present, setup.group_size),
        with_bands=with_bands,
        with_measures=with_measures,
        workers=workers_for(present.values.size),
        progress=progress,
    )
    return judge("Treeline", history, present, done), past, package


def judge(name: str, history: History, grid: Grid, done: Backtest) -> ExperimentOutcome:
    """Hold a detector's incidents and severities against the labels of a history."""
    pages = openings(done.changes)
    labels = history.incidents
    return ExperimentOutcome(
        name=name,
        grid=grid,
        backtest=done,
        openings=pages,
        evaluations=evaluate_tiers(
            labels, pages, observed=grid.observed(), step_ms=round(grid.step_s * 1000), protocol=history.protocol
        ),
        points=judge_points(grid.times_ms, grid.servers, done.trace.severity, labels),
    )


def openings(changes: list[tuple[str, Change]]) -> tuple[Opening, ...]:
    """When incidents began to page, and when they rose to P1."""
    return tuple(
        Opening(server_id=server, at_ms=c.at, priority=c.priority.value, incident_id=f"{server}/{iso(c.opened_at)}")
        for server, c in changes
        if c.event in (AlertEvent.OPENED, AlertEvent.ESCALATED)
    )
