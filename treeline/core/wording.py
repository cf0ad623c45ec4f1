"""One metric's evidence in words, the same on pages, in mails, on dashboards, in reports and on the terminal."""

from treeline.core.alert import ExpectedBy, MetricEvidence

_BY = {
    ExpectedBy.TRAILING_DAY: " going by the last day",
    ExpectedBy.TIME_OF_DAY: " at this time of day",
    ExpectedBy.ROLLING_WINDOW: " going by the rolling window",
    None: "",
}
_SAID_BY_UNIT = {"percent": "%", "mbps": "Mbit/s"}  # endings of names that only repeat the unit


def number(value: float, unit: str) -> str:
    """Four digits and the unit."""
    return f"{value:,.4g} {unit.removeprefix('1') if unit.startswith('1/') else unit}".rstrip()


def spoken(name: str, unit: str) -> str:
    """A metric's name as it is read aloud: `cpu_percent` in % is "cpu"."""
    start, _, last = name.rpartition("_")
    named = start if start and _SAID_BY_UNIT.get(last) == unit else name
    return named.replace("_", " ")


def moved(metric: MetricEvidence) -> str:
    """One metric in words: measured, and what it should be by itself or by the server's other metrics."""
    name = spoken(metric.name, metric.unit)
    measured = f"{name} {_measured(metric.measured, metric.unit)}"
    if metric.is_told_by_relation and metric.implied is not None:
        band = f"({metric.implied_low:,.4g} to {metric.implied_high:,.4g})"
        return f"{measured}, while {_witnesses(metric)} {number(metric.implied, metric.unit)} {band}"
    band = f"({metric.low:,.4g} to {metric.high:,.4g})"
    return f"{measured}, expected {metric.expected:,.4g} {band}{_BY[metric.expected_by]}"


def _witnesses(metric: MetricEvidence) -> str:
    """The metrics from which it follows what this one should be, and the verb."""
    said = [f"{spoken(m.name, m.unit)} {_measured(m.measured, m.unit)}" for m in metric.implied_by]
    return f"{' and '.join(said)} {'implies' if len(said) == 1 else 'imply'}" if said else "its other metrics imply"


def _measured(value: float | None, unit: str) -> str:
    return "missing" if value is None else number(value, unit)
