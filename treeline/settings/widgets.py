"""What the functions of the dashboards' custom widgets are told."""

from dataclasses import dataclass

from treeline.settings.environment import EnvSettings
from treeline.settings.pipeline import Grouping, Silence


@dataclass(frozen=True, kw_only=True)
class WidgetFleetSettings(EnvSettings, Silence, Grouping):
    """The map of the fleet."""

    stage: str
    servers_table: str
    state_table: str
    controls_table: str


@dataclass(frozen=True, kw_only=True)
class WidgetIncidentsSettings(EnvSettings):
    """The open incidents."""

    stage: str
    incidents_table: str
    limit: int = 50  # newest first


@dataclass(frozen=True, kw_only=True)
class WidgetModelSettings(EnvSettings):
    """Which models decide."""

    stage: str
    controls_table: str
