"""Which servers a canary covers, and whether what it showed is good enough.

A canary is a share of the *servers*, chosen by a hash: a server that is in it stays in it, so all its scores come from
the candidate. Endpoint weights would divide requests instead, and so one server's scores between two models.
"""

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from treeline.core.errors import SettingsError
from treeline.core.setting import Settings, setting

_SPACE = 1 << 32
# Neighbouring scores share nine of the ten observations that the relation is averaged over: so many say as much as one.
OBSERVATIONS_AS_ONE = 10
SHIFT_ERRORS = 2.0  # a difference of means within so many standard errors of it is noise


def position(server_id: str) -> float:
    """A server's place in [0, 1), a hash of its id."""
    return int.from_bytes(hashlib.sha256(server_id.encode("utf-8", "surrogatepass")).digest()[:4], "big") / _SPACE


def is_canary(server_id: str, reach: float) -> bool:
    """Whether a server is in a canary that reaches to `reach` in [0, 1]."""
    return position(server_id) < reach


def reach_of(servers: Iterable[str], share: float) -> float:
    """How far a canary of `share` of these servers must reach: at least one server, never fewer than the share.

    With thousands of servers the reach is about `share` itself; with ten, hashing alone could choose none.
    """
    positions = sorted(position(server) for server in servers)
    if not positions:
        return share
    wanted = max(1, math.ceil(share * len(positions)))
    return (
        max(share, math.nextafter(positions[wanted - 1], 1.0)) if sum(p < share for p in positions) < wanted else share
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryLimits(Settings):
    """What a candidate may do at most."""

    error_share: float = setting(
        0.02, low=0.0, high=0.999, meaning="Failed calls of the candidate's variant, share of its calls."
    )
    latency_ms: float = setting(
        1000.0,
        above=0.0,
        meaning="95th percentile of the candidate's calls; counts only where it is also `latency_ratio` times the "
        "champion's, as a slow network is nobody's fault.",
    )
    latency_ratio: float = setting(2.0, low=1.0, meaning="Of that percentile, candidate over champion.")
    page_ratio: float = setting(
        3.0,
        low=1.0,
        meaning="Incidents opened, (candidate + 1) / (champion + 1), and its inverse: neither noisy nor blind.",
    )
    disagreement: float = setting(
        0.02,
        above=0.0,
        high=1.0,
        meaning="Observations that one model would count towards a page and the other not, share.",
    )
    score_shift: float = setting(
        0.5,
        above=0.0,
        meaning="The candidate's mean score against its own training, in its standard deviations, less what the "
        "champion's moved the same way. Of few observations two standard errors, if that is more.",
    )
    min_observations: int = setting(100, low=1, meaning="With fewer observations a slice shows nothing.")


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceEvidence:
    """What one slice of a canary showed; counts are of the slice, page counts and the shift of the canary so far."""

    observations: int = 0  # scored by both models
    disagreeing: int = 0
    candidate_pages: int = 0
    champion_pages: int = 0
    score_shift: float = 0.0
    shifted_observations: int = 0  # scored by both models in the canary so far, which the shift is of
    calls: int = 0
    errors: int = 0
    candidate_p95_ms: float = 0.0
    champion_p95_ms: float = 0.0


class Breach(StrEnum):
    """What was wrong with a slice."""

    ERRORS = "errors"
    LATENCY = "latency"
    PAGE_RATE = "page_rate"
    DISAGREEMENT = "disagreement"
    SCORE_SHIFT = "score_shift"


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceVerdict:
    """A slice judged: breached limits with the measure that breached, or none."""

    has_evidence: bool
    breaches: dict[str, float] = field(default_factory=dict)
    measures: dict[str, float] = field(default_factory=dict)
    # Measures beyond their limit that breach none, as so few observations differ by as much anyway: that much.
    excused: dict[str, float] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether nothing was breached."""
        return not self.breaches


def judge_slice(evidence: SliceEvidence, limits: CanaryLimits) -> SliceVerdict:
    """Hold one slice against the limits.

    A candidate that mostly fails has few observations to compare, so its errors are judged without a minimum of
    observations (but with at least five calls). The score's shift breaches its limit where it is beyond what the means
    of so few scores differ by anyway: 320 observations make that less than the default limit.
    """
    errors = evidence.errors / evidence.calls if evidence.calls else 0.0
    latency_limit_ms = max(limits.latency_ms, limits.latency_ratio * evidence.champion_p95_ms)
    more = (evidence.candidate_pages + 1) / (evidence.champion_pages + 1)
    enough = evidence.observations >= limits.min_observations
    disagreement = evidence.disagreeing / evidence.observations if evidence.observations else 0.0
    noise = SHIFT_ERRORS * math.sqrt(2 * OBSERVATIONS_AS_ONE / max(evidence.shifted_observations, 1))
    measures = {
        Breach.ERRORS.value: errors,
        Breach.LATENCY.value: evidence.candidate_p95_ms,
        Breach.PAGE_RATE.value: more,
        Breach.DISAGREEMENT.value: disagreement,
        Breach.SCORE_SHIFT.value: evidence.score_shift,
    }
    shift = abs(evidence.score_shift)
    breached = {
        Breach.ERRORS: evidence.calls >= 5 and errors > limits.error_share,
        Breach.LATENCY: evidence.candidate_p95_ms > latency_limit_ms,
        Breach.PAGE_RATE: max(more, 1.0 / more) > limits.page_ratio,
        Breach.DISAGREEMENT: enough and disagreement > limits.disagreement,
        Breach.SCORE_SHIFT: enough and shift > max(limits.score_shift, noise),
    }
    return SliceVerdict(
        has_evidence=enough,
        breaches={finding.value: measures[finding.value] for finding, is_so in breached.items() if is_so},
        measures=measures,
        excused={Breach.SCORE_SHIFT.value: noise} if enough and limits.score_shift < shift <= noise else {},
    )


class CanaryOutcome(StrEnum):
    """What becomes of a canary now."""

    HOLD = "hold"
    CUT_OVER = "cut_over"
    ROLL_BACK = "roll_back"


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldPlan:
    """How long a canary is held, in event time, and in how many looks."""

    hold_ms: int = 86_400_000
    slice_ms: int = 3_600_000
    min_share_with_evidence: float = 0.5  # of the slices; a fleet that fell silent proves nothing

    def __post_init__(self) -> None:
        """Check ranges."""
        if not 0 < self.slice_ms <= max(self.hold_ms, self.slice_ms) or self.hold_ms < 0:
            raise SettingsError(f"a hold needs 0 < slice and hold >= 0, got {self.slice_ms} and {self.hold_ms} ms")
        if not 0.0 <= self.min_share_with_evidence <= 1.0:
            raise SettingsError(f"min_share_with_evidence must be in [0, 1], got {self.min_share_with_evidence}")

    @property
    def slices(self) -> int:
        """How many slices there are."""
        return math.ceil(self.hold_ms / self.slice_ms)


def decide(verdicts: Iterable[bool], with_evidence: int, plan: HoldPlan) -> CanaryOutcome:
    """Roll back at the first slice that failed; cut over after the last, if enough of them showed anything.

    Args:
        verdicts: Whether each slice so far passed, in order.
        with_evidence: How many of them had enough observations.
        plan: How many there are to be.
    """
    passed = list(verdicts)
    if not all(passed):
        return CanaryOutcome.ROLL_BACK
    if len(passed) < plan.slices:
        return CanaryOutcome.HOLD
    return (
        CanaryOutcome.CUT_OVER
        if with_evidence >= plan.min_share_with_evidence * plan.slices
        else CanaryOutcome.ROLL_BACK
    )
