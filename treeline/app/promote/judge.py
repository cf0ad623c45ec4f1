"""Judges a canary slice by slice, as event time completes them."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from treeline.app.detect.handover import Pointer
from treeline.app.promote.canary import Canary, Side
from treeline.app.promote.comparison import add, compare, reference, score_shift, scored
from treeline.app.promote.ports import CallTotals, Evidence
from treeline.app.promote.progress import Progress
from treeline.core.model.canary import CanaryLimits, HoldPlan, SliceEvidence, judge_slice
from treeline.core.model.package import ModelPackage
from treeline.core.times import iso

REFERENCE_MS = 86_400_000  # of the champion's scores before the canary
STUCK_MS = 120_000  # wall clock; a candidate gets its turn after every tick of the champion's, so with each heartbeat


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceJudge:
    """Takes what both models left in the tables, and holds each slice against the limits."""

    evidence: Evidence
    limits: CanaryLimits
    clock_ms: Callable[[], int]

    def begin(self, progress: Progress, champion: ModelPackage, servers: set[str], started_ms: int) -> Progress:
        """Note what later slices are compared with: the champion's scores so far, and the calls counted so far.

        Args:
            progress: The promotion.
            champion: The active model's package.
            servers: The canary's.
            started_ms: Event time that the champion has decided so far.
        """
        first_ms = started_ms - REFERENCE_MS
        blocks = self.evidence.blocks(first_ms, started_ms, model_version=champion.model_version, is_candidate=False)
        before = reference(scored(blocks, first_ms, started_ms, servers=servers), champion)
        return replace(
            progress,
            canary_from=started_ms,
            reference={server: known for server, known in before.items() if server in servers},
            snapshot={role.value: total.to_json() for role, total in self._totals(progress).items()},
        )

    def is_complete(self, end_ms: int, pointer: Pointer, progress: Progress, plan: HoldPlan) -> tuple[bool, Progress]:
        """Whether a slice can be judged: the champion is past its end, and so is the candidate unless it is stuck.

        In a backlog one tick takes the champion hours ahead before it is the candidate's turn. So a candidate that is
        behind is stuck only once it has stood still for `STUCK_MS`; the progress returned holds since when it stands.
        """
        champion = self.evidence.watermark(pointer.model_version)
        if champion is None or champion < end_ms:
            return False, progress
        candidate = self.evidence.watermark(progress.candidate.model_version)
        if candidate is not None and candidate >= end_ms:
            return True, progress
        if champion < end_ms + plan.slice_ms:
            return False, progress
        now_ms, behind = self.clock_ms(), progress.snapshot.get("behind", {})
        if behind.get("candidate", -1) == candidate:
            return now_ms - int(behind["since_ms"]) >= STUCK_MS, progress
        behind = {"candidate": candidate, "since_ms": now_ms}
        return False, replace(progress, snapshot={**progress.snapshot, "behind": behind})

    def judge(
        self, progress: Progress, pointer: Pointer, canary: Canary, package: ModelPackage, start_ms: int, end_ms: int
    ) -> Progress:
        """The promotion with one more verdict, about the observations in [start, end); `package` is the candidate's."""
        version = progress.candidate.model_version
        ours = self.evidence.blocks(start_ms, end_ms, model_version=version, is_candidate=True)
        theirs = self.evidence.blocks(start_ms, end_ms, model_version=pointer.model_version, is_candidate=False)
        compared = compare(scored(ours, start_ms, end_ms), scored(theirs, start_ms, end_ms))
        sums = add(progress.snapshot.get("sums", {}), compared.sums)
        totals = self._totals(progress)
        calls = {
            role: total.since(CallTotals.from_json(progress.snapshot.get(role.value, {})))
            for role, total in totals.items()
        }
        servers = [s for s in self.evidence.servers() if canary.covers(s)]
        verdict = judge_slice(
            SliceEvidence(
                observations=compared.observations,
                disagreeing=compared.disagreeing,
                candidate_pages=self.evidence.candidate_pages(version, progress.canary_from, end_ms),
                champion_pages=self.evidence.champion_pages(servers, progress.canary_from, end_ms),
                score_shift=score_shift(sums, package, progress.reference),
                shifted_observations=sum(count for count, *_ in sums.values()),
                calls=calls[Side.CANDIDATE].calls,
                errors=calls[Side.CANDIDATE].errors,
                candidate_p95_ms=calls[Side.CANDIDATE].p95_ms(),
                champion_p95_ms=calls[Side.CHAMPION].p95_ms(),
            ),
            self.limits,
        )
        entry = {
            "slice": len(progress.verdicts) + 1,
            "until": iso(end_ms),
            "observations": compared.observations,
            "passed": verdict.passed,
            "has_evidence": verdict.has_evidence,
            "breaches": {name: _rounded(value) for name, value in verdict.breaches.items()},
            "measures": {name: _rounded(value) for name, value in verdict.measures.items()},
            "excused": {name: _rounded(value) for name, value in verdict.excused.items()},
        }
        counted = {role.value: total.to_json() for role, total in totals.items()}
        snapshot = {**progress.snapshot, **counted, "sums": sums}
        return replace(progress, verdicts=(*progress.verdicts, entry), snapshot=snapshot)

    def _totals(self, progress: Progress) -> dict[Side, CallTotals]:
        return {role: self.evidence.totals(progress.candidate.model_version, role) for role in Side}


def in_words(verdict: Mapping[str, Any]) -> str:
    """What came of a judged slice, and what of it passed only because so few observations say little."""
    return f"slice {verdict['slice']} {'passed' if verdict['passed'] else 'failed'}{reservation(verdict)}"


def reservation(verdict: Mapping[str, Any]) -> str:
    """What to say behind a verdict of measures beyond their limit that are taken for noise; empty where there are none.

    Verdicts that an earlier version stored excuse nothing in so many words.
    """
    return "".join(
        f"; {name} {verdict['measures'][name]:.2g} is beyond its limit, but within the noise of so few observations "
        f"({noise:.2g})"
        for name, noise in verdict.get("excused", {}).items()
    )


def why_not(progress: Progress) -> str:
    """Why the slices judged so far are no reason to promote, in words."""
    last = progress.verdicts[-1]
    if last["passed"]:
        return "too few observations in too many slices to judge by"
    breaches = ", ".join(f"{name} {value:.4g}" for name, value in last["breaches"].items())
    return f"slice {last['slice']} breached its limits: {breaches}"


def _rounded(value: float) -> float:
    return round(value, 4) if math.isfinite(value) else value
