"""What an operator wants to count from now on, read from a file and refused where it cannot count."""

import json
import math
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from stacks.config.learning import ForestConfig
from treeline.app.detect.override import FOREST_KEYS, POLICY_KEYS, Override
from treeline.core.detection.calibration import Calibration
from treeline.core.detection.policy_settings import PolicySettings
from treeline.core.errors import SettingsError, TreelineError, UsageError
from treeline.core.model.package import ModelPackage
from treeline.settings.values import read

_PARTS = ("model_version", "calibration", "policy", "forest")
_OF_CALIBRATE = ("budget", "server_days", "tiers")  # what `treeline calibrate --json` says beside them
SCORE_LIMIT = "score_limit"  # in a calibration: no threshold, but what the forest's scores cannot pass
_PERSISTENCE = ("needed", "of_last")


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedSettings:
    """What shall count; what it does not name stays as it is."""

    source: str  # what it was made from, for the record
    calibration: Calibration | None = None
    policy: Mapping[str, float] = field(default_factory=dict)
    forest: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedValue:
    """One value that a change changes; None: nothing stands there."""

    what: str
    old: Any
    new: Any


def of_file(path: Path, package: ModelPackage, in_force: Calibration) -> WantedSettings:
    """Read what `treeline calibrate` wrote (its package or its JSON), or JSON of the same form written by hand.

    Args:
        path: A model package, or JSON with `model_version` and `calibration`, `policy` or `forest`.
        package: The model that decides.
        in_force: The thresholds that decide; those which the file does not name keep their values.

    Raises:
        UsageError: It cannot be read, is of another model, or names what there is not or what is out of range.
    """
    try:
        if zipfile.is_zipfile(path):
            given = ModelPackage.from_bytes(path.read_bytes())
            require_model(given.model_version, package.model_version, str(path))
            return WantedSettings(source=f"file {path.name}", calibration=given.calibration)
        body = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{path} is neither a model package nor JSON: {error}") from error
    if not isinstance(body, dict):
        raise UsageError(f"{path} holds {type(body).__name__}, expected an object with {', '.join(_PARTS)}")
    unknown = sorted(set(body) - {*_PARTS, *_OF_CALIBRATE})
    if unknown or not set(body) & set(_PARTS[1:]):
        what = f"{unknown[0]!r} is unknown" if unknown else "nothing to change is named"
        raise UsageError(f"{path}: {what}; there are {', '.join(_PARTS)}")
    calibration = None
    if body.get("calibration"):
        require_model(body.get("model_version"), package.model_version, str(path))
        calibration = merged(in_force, body["calibration"], str(path))
    budget = f", {body['budget']}" if isinstance(body.get("budget"), str) else ""
    return WantedSettings(
        source=f"file {path.name}{budget}",
        calibration=calibration,
        policy=policy_of(body.get("policy", {}), str(path)),
        forest=forest_of(body.get("forest", {}), str(path)),
    )


def require_model(given: object, decides: str, source: str) -> None:
    """Raise UsageError unless thresholds are the deciding model's: each model measures on a scale of its own."""
    if given is None:
        raise UsageError(f"{source} does not say whose thresholds it holds: add model_version (here: {decides!r})")
    if given != decides:
        raise UsageError(
            f"{source} holds thresholds of model {given!r}, and {decides!r} decides here: make them for that one "
            "(treeline calibrate --data .. --budget .. --stage ..)"
        )


def merged(calibration: Calibration, given: object, source: str) -> Calibration:
    """A calibration with some of its values replaced; raises UsageError for a value that is not there, or not valid."""
    if not isinstance(given, Mapping):
        raise UsageError(f"{source}: calibration must be an object, got {given!r}")
    body = calibration.to_json()
    known, wanted = dict(leaves(body)), dict(leaves(given))
    unknown = sorted(set(wanted) - set(known))
    if unknown:
        raise UsageError(f"{source}: there is no threshold {unknown[0]}; there are {', '.join(known)}")
    if wanted.get(SCORE_LIMIT, known[SCORE_LIMIT]) != known[SCORE_LIMIT]:
        raise UsageError(f"{source}: {SCORE_LIMIT} is the forest's own, {known[SCORE_LIMIT]:g}, and cannot be changed")
    for name, value in wanted.items():
        if isinstance(known[name], int | float) and not (_is_number(value) and math.isfinite(value)):
            raise UsageError(f"{source}: {name} must be a number, got {value!r}")
    try:
        return Calibration.from_json(_overlaid(body, given))
    except (TreelineError, TypeError, ValueError, KeyError) as error:
        raise UsageError(f"{source}: {error}") from error


def policy_of(given: object, source: str) -> dict[str, float]:
    """Policy settings to override; raises UsageError where there is no such setting, or it is out of range."""
    chosen = _chosen(given, POLICY_KEYS, f"{source}: policy")
    if len(set(chosen) & set(_PERSISTENCE)) == 1:  # valid only beside each other, and the stage's other one may change
        raise UsageError(f"{source}: policy.needed and policy.of_last belong together: name both")
    _checked(PolicySettings, chosen, f"{source}: policy")
    return chosen


def forest_of(given: object, source: str) -> dict[str, int]:
    """Forest settings to override; raises UsageError where there is no such setting, or it is out of range."""
    chosen = _chosen(given, FOREST_KEYS, f"{source}: forest")
    _checked(ForestConfig, chosen, f"{source}: forest")
    return chosen


def differences(
    old: Override | None, new: Override, package: ModelPackage, in_force: Calibration
) -> list[ChangedValue]:
    """What an entry changes, value by value."""
    after = new.calibration_for(package.model_version) or package.calibration.to_json()
    found = list(_changed("", in_force.to_json(), after))
    for part in ("policy", "forest"):
        found += _changed(f"{part}.", {} if old is None else getattr(old, part), getattr(new, part))
    return found


def leaves(body: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of nested objects, by its dotted name."""
    for name, value in body.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def to_json(differences: list[ChangedValue]) -> list[dict[str, Any]]:
    """Plain JSON values."""
    return [asdict(difference) for difference in differences]


def _changed(prefix: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[ChangedValue]:
    before, after = dict(leaves(old)), dict(leaves(new))
    for name in [*before, *(n for n in after if n not in before)]:
        if before.get(name) != after.get(name):
            yield ChangedValue(what=f"{prefix}{name}", old=before.get(name), new=after.get(name))


def _overlaid(body: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    return dict(body) | {
        name: _overlaid(body[name], value) if isinstance(value, Mapping) and isinstance(body[name], Mapping) else value
        for name, value in given.items()
    }


def _chosen(given: object, known: tuple[str, ...], source: str) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise UsageError(f"{source} must be an object, got {given!r}")
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise UsageError(f"{source}.{unknown[0]} cannot be overridden; there are {', '.join(known)}")
    return dict(given)


def _checked(cls: type[PolicySettings | ForestConfig], given: Mapping[str, Any], source: str) -> None:
    try:
        read(cls, given, source)
    except SettingsError as error:
        raise UsageError(str(error)) from error


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
