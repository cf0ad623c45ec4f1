"""A canary under way: which candidate decides beside the champion, and on which servers.

The promotion's steps (service.py) start and end it; detect reads it and lets the candidate decide (candidate_run.py);
the steps judge its hours (judge.py, comparison.py) by the limits of treeline.core.model.canary.
"""

from dataclasses import dataclass
from enum import StrEnum

from treeline.core.model.canary import is_canary


class Side(StrEnum):
    """The two sides of a canary."""

    CHAMPION = "champion"
    CANDIDATE = "candidate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """A candidate that decides beside the active model, as the controls table names it to detect."""

    model_version: str  # the candidate's
    package_key: str  # where its package is
    target_variant: str  # the endpoint's variant that hosts it
    model_data_url: str = ""  # where its forest is, s3://.../model.tar.gz
    reach: float  # servers up to this position (treeline.core.model.canary) are in it
    number: int = 0  # counts canaries; a candidate's state of an earlier one is begun anew

    def covers(self, server_id: str) -> bool:
        """Whether the candidate decides this server too."""
        return is_canary(server_id, self.reach)


def candidate_group(group: int) -> int:
    """The group number under which a candidate's score blocks are stored, apart from the champion's."""
    return -1 - group
