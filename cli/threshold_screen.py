"""Tables of `treeline threshold`."""

from collections.abc import Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from cli.overridden_stage import OverriddenStage
from cli.threshold_change import ChangedValue, leaves
from report.console import wide_console
from treeline.app.detect.override import Override

PACKAGE, STAGE = "the package's", "the stage's"


def state_of(entry: Override, current: Override | None, model_version: str) -> str:
    """What has become of an entry, in words."""
    if current is None or entry.id != current.id:
        return "replaced"
    if entry.calibration and not entry.calibration_for(model_version):
        rest = "; the rest holds" if entry.policy or entry.forest else ""
        return f"thresholds ended with model {entry.model_version}{rest}"
    return "in force" if entry.calibration or entry.policy or entry.forest else "nothing is overridden"


def show_differences(found: Sequence[ChangedValue]) -> None:
    """Old and new of each value that would change."""
    table = Table("value", "now", "then", box=None, header_style="dim")
    for difference in found:
        table.add_row(escape(difference.what), _text(difference.old), _text(difference.new))
    wide_console().print(table)


def show_entries(entries: Sequence[Override], stage: OverriddenStage) -> None:
    """The record, the newest first."""
    table = Table("id", "state", "model", "what", "made from", "by", "reason", box=None, header_style="dim")
    for entry in entries:
        state = state_of(entry, stage.current, stage.package.model_version)
        table.add_row(
            entry.id,
            escape(state),
            escape(entry.model_version),
            _parts(entry),
            *(escape(text) for text in (entry.source, entry.by, entry.reason)),
        )
    wide_console().print(table)


def show_stage(stage: OverriddenStage) -> None:
    """What decides, value by value, and what it would be without the override."""
    console = wide_console()
    version = stage.package.model_version
    console.print(f"model {escape(version)} decides; {escape(told(stage.current, version))}")
    own = dict(leaves(stage.package.calibration.to_json()))
    table = Table("value", "own", "in force", box=None, header_style="dim")
    for name, value in leaves(stage.in_force.to_json()):
        table.add_row(escape(name), _text(own.get(name)), _text(value) if value != own.get(name) else "")
    if stage.current is not None:
        for part in ("policy", "forest"):
            for name, value in getattr(stage.current, part).items():
                table.add_row(f"{part}.{name}", STAGE, _text(value))
    console.print(table)


def told(current: Override | None, model_version: str) -> str:
    """What the newest override is about, in one line."""
    if current is None:
        return "nothing is overridden"
    state = state_of(current, current, model_version)
    return f"override {current.id} of {current.by} ({current.reason}; {_parts(current)}): {state}"


def _parts(entry: Override) -> str:
    parts = [name for name in ("calibration", "policy", "forest") if getattr(entry, name)]
    return ", ".join(parts).replace("calibration", "thresholds") or "none"


def _text(value: Any) -> str:
    if value is None:
        return "its own"
    return f"{value:.4g}" if isinstance(value, float) else escape(str(value))
