"""What the functions of the dashboards' custom widgets are told."""

from dataclasses import dataclass

from treeline.settings.pipeline import EnvSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class WidgetFleetSettings(EnvSettings):
    """The map of the fleet."""

    stage: str
    servers_table: str
    state_table: str
    controls_table: str
    group_size: int = 50
    silent_after_s: int = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class WidgetIncidentsSettings(EnvSettings):
    """The open incidents."""

    stage: str
    incidents_table: str
    limit: int = 50  # newest first


@dataclass(frozen=True, slots=True, kw_only=True)
class WidgetModelSettings(EnvSettings):
    """Which models decide."""

    stage: str
    controls_table: str
