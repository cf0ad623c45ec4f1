"""A trial of `treeline tune` as a change of what a stage decides by."""

import json
from pathlib import Path

from cli.threshold_change import WantedSettings
from training.evaluate.experiment import Setup, with_thresholds_of
from training.evaluate.tune import Scored, best_of
from treeline.core.errors import UsageError
from treeline.core.model.package import ModelPackage


def read_trial(path: Path, wanted: str) -> tuple[int, Scored]:
    """A trial of an earlier search, and its number in the file, counted from 1.

    Args:
        path: The search's `trials.json`.
        wanted: The number, or `best`.

    Raises:
        UsageError: The file cannot be read, or has no such trial.
    """
    try:
        results = [Scored.from_json(body) for body in json.loads(path.read_text(encoding="utf-8"))]
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}; --out names the folder of a search") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UsageError(f"{path} is not what `treeline tune` wrote: {error}") from error
    if wanted == "best" and results:
        best = best_of(results)
        return results.index(best) + 1, best
    if not (wanted.isdecimal() and 1 <= int(wanted) <= len(results)):
        raise UsageError(f"--apply is best, or a number from 1 to {len(results)}, got {wanted!r}")
    return int(wanted), results[int(wanted) - 1]


def of_trial(number: int, scored: Scored, folder: Path, package: ModelPackage) -> WantedSettings:
    """The trial's settings, all of them: its factor is on the package's own thresholds, as it was in the search.

    Raises:
        UsageError: The search expected values by something else than the package does: its figures say nothing here.
    """
    trial = scored.trial
    if scored.rolling_window_s != package.rolling_window_s:
        raise UsageError(
            f"trial {number} was searched with {_expected_by(scored.rolling_window_s)}, and model "
            f"{package.model_version} has {_expected_by(package.rolling_window_s)}: search with the stage's file "
            "(--config), or train anew"
        )
    figures = [f"{name} {value:.2f}" for name, value in (("F0.5", scored.f05), ("F1", scored.f1)) if value is not None]
    return WantedSettings(
        source=", ".join([f"tune trial {number} of {folder.name}", *figures]),
        calibration=with_thresholds_of(trial.over(Setup()), package).calibration,
        policy={"needed": trial.needed, "of_last": trial.of_last},
        forest={"num_trees": trial.num_trees, "num_samples_per_tree": trial.num_samples_per_tree},
    )


def _expected_by(rolling_window_s: float) -> str:
    return f"a rolling window of {rolling_window_s:g} s" if rolling_window_s else "expectations chosen by training"
