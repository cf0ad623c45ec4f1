"""Promoting a model: host it beside the champion, watch it on a tenth of the servers, cut over or roll back.

Each method is one step of the state machine (stacks/constructs/promotion.py). It may be repeated at any time, by the
same execution or by another that goes on where the first was stopped: what was done stands in `Progress`.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from treeline.app.detect.handover import Pointer
from treeline.app.promote import evidence as canary_evidence
from treeline.app.promote.canary import Canary
from treeline.app.promote.ports import (
    Announcer,
    Artifacts,
    CallTotals,
    Candidate,
    EndpointView,
    Evidence,
    Hosting,
    Models,
    Progress,
    ProgressStore,
    PromotionBusyError,
    PromotionError,
    Registry,
    Stage,
)
from treeline.core.errors import ModelMismatchError
from treeline.core.model.canary import (
    CanaryLimits,
    Decision,
    HoldPlan,
    SliceEvidence,
    decide,
    is_canary,
    judge_slice,
    reach_of,
)
from treeline.core.times import iso

REFERENCE_MS = 86_400_000  # of the champion's scores before the canary
STUCK_MS = 120_000  # wall clock; a candidate gets its turn after every tick of the champion's, so with each heartbeat
_IN_PROGRESS = frozenset({"Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"})
Answer = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionService:
    """The steps of a promotion. `next` in an answer says which one follows."""

    registry: Registry
    artifacts: Artifacts
    hosting: Hosting
    models: Models
    evidence: Evidence
    store: ProgressStore
    announcer: Announcer
    limits: CanaryLimits
    plan: HoldPlan
    share: float
    max_wait_ms: int
    clock_ms: Callable[[], int]

    def prepare(self, execution: str, request: Mapping[str, Any]) -> Answer:
        """Check everything the candidate needs, before anything is touched.

        Args:
            execution: Who asks.
            request: `package_arn` of the registry, or `model_version` of a model promoted before; `hold_s`
                overrides how long the canary is held (0: no canary).

        Returns:
            next: `host`; `busy` while another promotion is under way; `trim` where only cleaning up is left;
            `done` where the model is active already.

        Raises:
            PromotionError: An artifact is missing, or the package does not fit this deployment.
        """
        progress = self.store.load()
        if progress is not None and not progress.is_over and progress.execution != execution:
            if self.store.is_running(progress.execution):
                return {"next": "busy", "behind": progress.candidate.model_version}
            same = request.get("package_arn") == progress.candidate.package_arn or (
                request.get("model_version") == progress.candidate.model_version
            )
            if same:
                progress = replace(progress, execution=execution)
                self.store.save(progress)
                self._tell(progress, "resumed", f"goes on after {progress.stage.value}")
            else:
                self.models.end_canary()
        if progress is not None and not progress.is_over and progress.execution == execution:
            if progress.reason:
                return {"next": "roll_back", "reason": progress.reason}
            return {"next": "trim" if progress.stage is Stage.CUT_OVER else "host"}
        if progress is not None and progress.execution == execution:
            return {"next": "done"}
        candidate = self._candidate(request)
        pointer = self.models.read()
        if pointer is not None and pointer.model_version == candidate.model_version:
            return {"next": "done"}
        self._check(candidate)
        hold_s = request.get("hold_s")
        progress = Progress(
            execution=execution,
            candidate=candidate,
            started_ms=self.clock_ms(),
            hold_s=None if hold_s is None else int(hold_s),
            variant=variant_name(candidate.model_version),
        )
        self.store.save(progress)
        self._tell(progress, "started", "is checked and will be hosted")
        return {"next": "host"}

    def host(self, execution: str) -> Answer:
        """Create the model and start hosting it beside the champion; `again` while the endpoint is busy."""
        progress = self._mine(execution)
        pointer, view = self.models.read(), self.hosting.view()
        if view is not None and view.status in _IN_PROGRESS and view.config_name != progress.config_name:
            return {"next": "again"}
        if view is not None and view.status == "Failed" and (pointer is None or not view.variants):
            self.hosting.abandon()
            return {"next": "again"}
        model_name = self.hosting.ensure_model(progress.candidate)
        config = self.hosting.host(model_name, progress.variant, beside=_champion_variant(pointer, view))
        candidate = replace(progress.candidate, model_name=model_name)
        # A restarted execution comes through here again: the canary that is under way goes on, from when it began.
        stage = Stage.CANARY if progress.stage is Stage.CANARY else Stage.HOSTED
        self.store.save(progress.at(stage, candidate=candidate, config_name=config))
        return {"next": "check"}

    def check(self, execution: str) -> Answer:
        """Whether the endpoint serves what was asked for: `ready`, `waiting`, or `roll_back` with the reason."""
        progress = self._mine(execution)
        view = self.hosting.view()
        if view is None:
            return {"next": "roll_back", "reason": "the endpoint is gone"}
        if view.status in _IN_PROGRESS:
            return {"next": "waiting"}
        if view.status == "InService" and view.config_name == progress.config_name:
            return {"next": "ready"}
        failure = view.failure or f"it is {view.status} with configuration {view.config_name}"
        return {"next": "roll_back", "reason": f"the endpoint did not take the configuration: {failure}"}

    def start_canary(self, execution: str) -> Answer:
        """Let the candidate decide beside the champion; `cut_over` at once where there is nothing to compare with."""
        progress = self._mine(execution)
        if progress.stage is Stage.CANARY:
            return {"next": "hold"}
        pointer = self.models.read()
        hold_s = self._plan(progress).hold_ms
        started = None if pointer is None or not hold_s else self.evidence.watermark(pointer.model_version)
        if pointer is None or started is None:
            return {"next": "cut_over"}
        servers = list(self.evidence.servers())
        reach = reach_of(servers, self.share)
        chosen = {s for s in servers if is_canary(s, reach)}
        blocks = self.evidence.blocks(
            started - REFERENCE_MS, started, model_version=pointer.model_version, is_shadow=False
        )
        before = canary_evidence.reference(
            canary_evidence.scored(blocks, started - REFERENCE_MS, started, servers=chosen),
            self.models.load(pointer.package_key),
        )
        before = {server: known for server, known in before.items() if server in chosen}
        self.models.start_canary(
            Canary(
                model_version=progress.candidate.model_version,
                package_key=progress.candidate.package_key,
                target_variant=progress.variant,
                reach=reach,
            )
        )
        snapshot = {role: self._totals(progress, role).to_json() for role in ("champion", "candidate")}
        progress = progress.at(Stage.CANARY, canary_from=started, reference=before, snapshot=snapshot)
        self.store.save(progress)
        self._tell(
            progress,
            "canary",
            f"decides beside {pointer.model_version} on {len(chosen)} of {len(servers)} servers",
            servers=len(chosen),
            since=iso(started),
        )
        return {"next": "hold"}

    def judge(self, execution: str) -> Answer:
        """Judge the slices that event time has completed: `hold`, `cut_over` or `roll_back` with the reason."""
        progress = self._mine(execution)
        plan = self._plan(progress)
        pointer = self.models.read()
        canary = self.models.canary
        if pointer is None or canary is None or canary.model_version != progress.candidate.model_version:
            return {"next": "roll_back", "reason": "the canary was ended by hand"}
        while len(progress.verdicts) < plan.slices:
            start = progress.canary_from + len(progress.verdicts) * plan.slice_ms
            end = start + plan.slice_ms
            is_complete, progress = self._is_complete(end, pointer, progress, plan)
            if not is_complete:
                break
            progress = self._judge_slice(progress, pointer, canary, start, end)
            self.store.save(progress)
            if not progress.verdicts[-1]["passed"]:
                break
        passed = [bool(v["passed"]) for v in progress.verdicts]
        evident = sum(bool(v["has_evidence"]) for v in progress.verdicts)
        decision = decide(passed, evident, plan)
        if decision is Decision.HOLD and self.clock_ms() - progress.started_ms > self.max_wait_ms:
            return {"next": "roll_back", "reason": "the fleet's time did not get to the canary's end"}
        if decision is Decision.ROLL_BACK:
            return {"next": "roll_back", "reason": _why(progress)}
        return {"next": decision.value, "slices": len(passed)}

    def cut_over(self, execution: str) -> Answer:
        """Point detection at the candidate; every group is handed over by its next tick."""
        progress = self._mine(execution)
        pointer = self.models.read()
        candidate = progress.candidate
        written = self.models.point_at(
            Pointer(
                model_version=candidate.model_version,
                package_key=candidate.package_key,
                target_variant=progress.variant,
                package_arn=candidate.package_arn,
                model_name=candidate.model_name,
            )
        )
        self.models.end_canary()
        self.registry.remember(candidate)
        if progress.stage is not Stage.CUT_OVER:
            progress = progress.at(Stage.CUT_OVER)
            self.store.save(progress)
            before = written.previous_version or (pointer.model_version if pointer else "")
            self._tell(progress, "cut_over", f"takes over from {before}" if before else "is the first model")
        return {"next": "trim"}

    def trim(self, execution: str) -> Answer:
        """Start removing the old variant."""
        progress = self._mine(execution)
        view = self.hosting.view()
        if view is not None and view.status in _IN_PROGRESS and view.config_name != progress.config_name:
            return {"next": "again"}
        config = self.hosting.keep_only(progress.variant)
        self.store.save(progress.at(Stage.CUT_OVER, config_name=config))
        return {"next": "check"}

    def finish(self, execution: str) -> Answer:
        """Leave the endpoint as it is to stay, and say that it is done."""
        progress = self._mine(execution)
        self.hosting.settle(progress.variant)
        progress = progress.at(Stage.DONE)
        self.store.save(progress)
        self._tell(progress, "done", "is the only model on the endpoint")
        return {"next": "done"}

    def roll_back(self, execution: str, reason: str) -> Answer:
        """Stop the canary and remove the candidate's variant; after the cut-over nothing is taken back any more.

        Returns:
            next: `check` while the endpoint goes back, `finish_roll_back` where it has nothing to go back from.
        """
        progress = self.store.load()
        if progress is None or progress.execution != execution:
            self.announcer.tell("refused", f"A promotion was refused: {reason}", {"reason": reason})
            return {"next": "finish_roll_back", "reason": reason}
        if not progress.reason:
            progress = replace(progress, reason=reason)
            self.store.save(progress)
            self._tell(progress, "rolling_back", reason)
        if progress.stage is Stage.CUT_OVER:
            return {"next": "finish_roll_back", "reason": progress.reason}
        self.models.end_canary()
        pointer, view = self.models.read(), self.hosting.view()
        champion = _champion_variant(pointer, view)
        if view is None or champion is None or set(view.variants) <= {champion}:
            if view is not None and view.status in _IN_PROGRESS:
                return {"next": "again", "reason": progress.reason}
            return {"next": "finish_roll_back", "reason": progress.reason}
        if view.status in _IN_PROGRESS:
            return {"next": "again", "reason": progress.reason}
        self.store.save(replace(progress, config_name=self.hosting.keep_only(champion)))
        return {"next": "again", "reason": progress.reason}

    def finish_roll_back(self, execution: str) -> Answer:
        """Close the books on a candidate that failed."""
        progress = self.store.load()
        if progress is None or progress.execution != execution:
            return {"next": "rolled_back"}
        if progress.stage is Stage.CUT_OVER:
            self._tell(
                progress, "unfinished", f"is active, but the old variant could not be removed: {progress.reason}"
            )
            self.store.save(progress.at(Stage.DONE))
            return {"next": "rolled_back"}
        view, pointer = self.hosting.view(), self.models.read()
        champion = _champion_variant(pointer, view)
        if champion is not None:
            self.hosting.settle(champion)
        if not progress.is_over:
            progress = progress.at(Stage.ROLLED_BACK)
            self.store.save(progress)
            self._tell(progress, "rolled_back", progress.reason)
        return {"next": "rolled_back"}

    def _mine(self, execution: str) -> Progress:
        progress = self.store.load()
        if progress is None or progress.execution != execution:
            raise PromotionBusyError(f"execution {execution} has been replaced by another one")
        return progress

    def _candidate(self, request: Mapping[str, Any]) -> Candidate:
        if request.get("package_arn"):
            return self.registry.candidate(str(request["package_arn"]))
        if request.get("model_version"):
            return self.registry.known(str(request["model_version"]))
        raise PromotionError("a promotion needs a package_arn or a model_version")

    def _check(self, candidate: Candidate) -> None:
        self.artifacts.require(candidate)
        try:
            package = self.models.load(candidate.package_key)
        except ModelMismatchError as error:
            raise PromotionError(f"model {candidate.model_version}: {error}") from error
        if package.model_version != candidate.model_version:
            raise PromotionError(
                f"the registry says {candidate.model_version}, its package says {package.model_version}"
            )

    def _plan(self, progress: Progress) -> HoldPlan:
        return self.plan if progress.hold_s is None else replace(self.plan, hold_ms=progress.hold_s * 1000)

    def _totals(self, progress: Progress, role: str) -> CallTotals:
        return self.evidence.totals(progress.candidate.model_version, role)

    def _is_complete(self, end: int, pointer: Pointer, progress: Progress, plan: HoldPlan) -> tuple[bool, Progress]:
        """The champion is past the slice's end, and so is the candidate, unless it does not get on at all.

        In a backlog the champion runs hours ahead in one tick, before the candidate's turn: far behind alone is not
        stuck, no step while the clock goes on is.
        """
        champion = self.evidence.watermark(pointer.model_version)
        if champion is None or champion < end:
            return False, progress
        candidate = self.evidence.watermark(progress.candidate.model_version)
        if candidate is not None and candidate >= end:
            return True, progress
        if champion < end + plan.slice_ms:
            return False, progress
        now_ms, behind = self.clock_ms(), progress.snapshot.get("behind", {})
        if behind.get("candidate", -1) == candidate:
            return now_ms - int(behind["since_ms"]) >= STUCK_MS, progress
        progress = replace(
            progress, snapshot={**progress.snapshot, "behind": {"candidate": candidate, "since_ms": now_ms}}
        )
        self.store.save(progress)
        return False, progress

    def _judge_slice(self, progress: Progress, pointer: Pointer, canary: Canary, start: int, end: int) -> Progress:
        version = progress.candidate.model_version
        ours = canary_evidence.scored(
            self.evidence.blocks(start, end, model_version=version, is_shadow=True), start, end
        )
        theirs = canary_evidence.scored(
            self.evidence.blocks(start, end, model_version=pointer.model_version, is_shadow=False), start, end
        )
        compared = canary_evidence.compare(ours, theirs)
        sums = canary_evidence.add(progress.snapshot.get("sums", {}), compared.sums)
        package = self.models.load(progress.candidate.package_key)
        totals = {role: self._totals(progress, role) for role in ("champion", "candidate")}
        calls = {
            role: total.since(CallTotals.from_json(progress.snapshot.get(role, {}))) for role, total in totals.items()
        }
        servers = [s for s in self.evidence.servers() if canary.covers(s)]
        verdict = judge_slice(
            SliceEvidence(
                observations=compared.observations,
                disagreeing=compared.disagreeing,
                candidate_pages=self.evidence.candidate_pages(version, progress.canary_from, end),
                champion_pages=self.evidence.champion_pages(servers, progress.canary_from, end),
                score_shift=canary_evidence.score_shift(sums, package, progress.reference),
                calls=calls["candidate"].calls,
                errors=calls["candidate"].errors,
                candidate_p95_ms=calls["candidate"].p95_ms(),
                champion_p95_ms=calls["champion"].p95_ms(),
            ),
            self.limits,
        )
        number = len(progress.verdicts) + 1
        entry = {
            "slice": number,
            "until": iso(end),
            "observations": compared.observations,
            "passed": verdict.passed,
            "has_evidence": verdict.has_evidence,
            "breaches": {name: _rounded(value) for name, value in verdict.breaches.items()},
            "measures": {name: _rounded(value) for name, value in verdict.measures.items()},
        }
        snapshot = {**progress.snapshot, **{role: total.to_json() for role, total in totals.items()}, "sums": sums}
        progress = replace(progress, verdicts=(*progress.verdicts, entry), snapshot=snapshot)
        self._tell(progress, "slice", f"slice {number} {'passed' if verdict.passed else 'failed'}", verdict=entry)
        return progress

    def _tell(self, progress: Progress, step: str, what: str, **details: Any) -> None:
        version = progress.candidate.model_version
        self.announcer.tell(
            step,
            f"Model {version} {what}",
            {"model_version": version, "execution": progress.execution, "stage": progress.stage.value, **details},
        )


def variant_name(model_version: str) -> str:
    """The variant of a model: SageMaker allows letters, digits and single hyphens, 63 of them."""
    return re.sub(r"[^A-Za-z0-9]+", "-", model_version).strip("-")[:63].rstrip("-")


def _champion_variant(pointer: Pointer | None, view: EndpointView | None) -> str | None:
    """The variant that hosts the active model; None where nothing is hosted yet."""
    if pointer is None or view is None or not view.variants:
        return None
    return pointer.target_variant if pointer.target_variant in view.variants else view.variants[0]


def _why(progress: Progress) -> str:
    last = progress.verdicts[-1]
    if last["passed"]:
        return "too few observations in too many slices to judge by"
    breaches = ", ".join(f"{name} {value:.4g}" for name, value in last["breaches"].items())
    return f"slice {last['slice']} breached its limits: {breaches}"


def _rounded(value: float) -> float:
    return round(value, 4) if math.isfinite(value) else value
