"""Thresholds that would have kept a page budget over the last days, from the incidents that a stage stored."""

from collections.abc import Mapping, Sequence

from cli.deployment import DeployedStage
from cli.threshold_change import WantedSettings
from training.evaluate.budget import Budget
from training.evaluate.calibrate import raised
from training.evaluate.pages import Tier
from training.evaluate.shadow_report import DAY_MS, opened_within, shadow_report
from training.evaluate.stage_servers import registered_servers
from treeline.app.detect.override import Override
from treeline.core.alert import Alert
from treeline.core.detection.calibration import Calibration
from treeline.core.errors import UsageError
from treeline.core.model.package import ModelPackage
from treeline.core.severity import P1_SEVERITY, P2_SEVERITY
from treeline.core.times import iso, parse_iso
from treeline.settings import outputs


def of_budget(
    deployment: DeployedStage,
    text: str,
    *,
    days: float,
    now_ms: int,
    package: ModelPackage,
    in_force: Calibration,
    current: Override | None,
) -> WantedSettings:
    """Raise the thresholds that decide until the incidents of the last days keep a budget, as `shadow report` reads it.

    Incidents that people labelled as real are not counted: their pages were wanted.

    Args:
        deployment: The stage.
        text: The budget, such as "1 P1 and 2 P2 per server-month".
        days: How many, up to `now_ms`.
        now_ms: Now.
        package: The model that decides.
        in_force: The thresholds that decide.
        current: The newest override.

    Raises:
        UsageError: Incidents of these days were not decided by these thresholds, so their severities say nothing about
            them; or no server is registered.
    """
    servers = registered_servers(deployment.client("dynamodb"), deployment.output(outputs.SERVERS_TABLE))
    if not servers:
        raise UsageError(f"stage {deployment.stage} knows no server yet: there is nothing to hold a budget against")
    start_ms = round(now_ms - days * DAY_MS)
    stored = opened_within(deployment.incidents.between(start_ms, now_ms), start_ms, now_ms)
    labels = deployment.controls.labels()
    _require_decided_by(package, current, stored)
    real = {name for name in stored if (label := labels.get(name)) is not None and label.is_incident}
    report = shadow_report(
        {name: alerts for name, alerts in stored.items() if name not in real},
        labels,
        start_ms=start_ms,
        end_ms=now_ms,
        servers=len(servers),
        step_ms=package.step_ms,
        by_wall_clock=True,
        budget=Budget.parse(text, servers=len(servers)),
    )
    least = {fit.tier: fit.severity_at_least for fit in report.fits}
    p2 = least[Tier.ALL]
    p1 = max(least[Tier.P1], 1.001 * p2)
    left_out = f", {len(real)} labelled as real left out" if real else ""
    is_kept = p2 <= P2_SEVERITY and p1 <= P1_SEVERITY
    return WantedSettings(
        source=f"budget {text} on {len(stored)} incidents of {days:g} days{left_out}",
        calibration=None if is_kept else raised(in_force, p2=p2, p1=p1),
    )


def _require_decided_by(
    package: ModelPackage, current: Override | None, incidents: Mapping[str, Sequence[Alert]]
) -> None:
    """Refuse incidents that other thresholds decided than those that shall be raised."""
    for name, alerts in incidents.items():
        if alerts[0].model_version != package.model_version:
            raise UsageError(f"{name} was decided by model {alerts[0].model_version}: choose --days after it")
        if current is not None and parse_iso(alerts[0].clocks.scored_at) < current.created_ms:
            raise UsageError(
                f"{name} was decided before the thresholds were changed at {iso(current.created_ms)}: choose --days "
                "after that"
            )
