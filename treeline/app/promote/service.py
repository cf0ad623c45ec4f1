"""Promoting a model: host it beside the champion, watch it on a tenth of the servers, cut over or roll back.

`run` takes one step of the state machine; which step follows which answer stands in protocol.py. A step may be
repeated at any time, by the same execution or by another that goes on where the first was stopped: what was done
stands in `Progress`.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from treeline.app.detect.handover import Pointer
from treeline.app.promote.canary import Canary
from treeline.app.promote.judge import SliceJudge, in_words, reservation, why_not
from treeline.app.promote.ports import (
    Announcer,
    ArtifactCheck,
    EndpointView,
    Evidence,
    Hosting,
    ModelPointers,
    ProgressStore,
    Registry,
)
from treeline.app.promote.progress import Candidate, Progress, PromotionBusyError, PromotionError, PromotionStage
from treeline.app.promote.protocol import Answer, Reply, Step
from treeline.core.errors import ModelMismatchError
from treeline.core.model.canary import CanaryLimits, CanaryOutcome, HoldPlan, decide, is_canary, reach_of
from treeline.core.times import iso

_IN_PROGRESS = frozenset({"Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"})


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionService:
    """The steps of a promotion."""

    registry: Registry
    artifacts: ArtifactCheck
    hosting: Hosting
    models: ModelPointers
    evidence: Evidence
    store: ProgressStore
    announcer: Announcer
    limits: CanaryLimits  # what a candidate may do at most
    plan: HoldPlan  # how long a canary is held
    share: float  # of the servers that are in the canary
    max_wait_ms: int  # wall clock from the start to the canary's end; a fleet that fell silent is not waited for longer
    clock_ms: Callable[[], int]

    def run(self, event: Mapping[str, Any]) -> Reply[Answer]:
        """Take the step that a task of the state machine asks for; raises ValueError where there is no such step.

        The event has `step` and `execution`; to prepare `request`; to roll back `state`, the execution's data.
        """
        execution, step = str(event["execution"]), Step(event["step"])
        if step is Step.PREPARE:
            return self.prepare(execution, event["request"])
        if step is Step.ROLL_BACK:
            return self.roll_back(execution, reason_of(event.get("state") or {}))
        take: Callable[[str], Reply[Answer]] = getattr(self, step.value)  # the method that has the step's name
        return take(execution)

    def prepare(
        self, execution: str, request: Mapping[str, Any]
    ) -> Reply[Literal[Answer.HOST, Answer.BUSY, Answer.TRIM, Answer.DONE, Answer.ROLL_BACK]]:
        """Check everything the candidate needs, before anything is touched.

        Args:
            execution: Who asks.
            request: `package_arn` of the registry, or `model_version` of a model promoted before; `hold_s`
                overrides how long the canary is held (0: no canary).

        Returns:
            `host`; `busy` while another promotion is under way; `trim` where only cleaning up is left; `done` where
            the model is active already and can be asked; `roll_back` where the execution that was stopped had begun to.

        Raises:
            PromotionError: An artifact is missing, or the package does not fit this deployment.
        """
        progress = self.store.load()
        if progress is not None and not progress.is_over and progress.execution != execution:
            if self.store.is_running(progress.execution):
                return Reply(Answer.BUSY, {"behind": progress.candidate.model_version})
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
                return _roll_back(progress.reason)
            return Reply(Answer.TRIM if progress.stage is PromotionStage.CUT_OVER else Answer.HOST)
        if progress is not None and progress.execution == execution:
            return Reply(Answer.DONE)
        candidate = self._candidate(request)
        pointer = self.models.read()
        is_active = pointer is not None and pointer.model_version == candidate.model_version
        if pointer is not None and is_active and self.hosting.serves(pointer):
            return Reply(Answer.DONE)
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
        self._tell(progress, "started", "has passed its checks")
        return Reply(Answer.HOST)

    def host(self, execution: str) -> Reply[Literal[Answer.CHECK, Answer.AGAIN]]:
        """Create the model and start hosting it beside the champion; `again` while the endpoint is busy."""
        progress = self._mine(execution)
        pointer, view = self.models.read(), self.hosting.view()
        if view is not None and view.status in _IN_PROGRESS and view.config_name != progress.config_name:
            return Reply(Answer.AGAIN)
        if view is not None and view.status == "Failed" and (pointer is None or not view.variants):
            self.hosting.abandon()
            return Reply(Answer.AGAIN)
        model_name = self.hosting.ensure_model(progress.candidate)
        config = self.hosting.host(model_name, progress.variant, beside=_champion_variant(pointer, view))
        candidate = replace(progress.candidate, model_name=model_name)
        # A restarted execution comes through here again: the canary that is under way goes on, from when it began.
        stage = PromotionStage.CANARY if progress.stage is PromotionStage.CANARY else PromotionStage.HOSTED
        self.store.save(progress.at(stage, candidate=candidate, config_name=config))
        return Reply(Answer.CHECK)

    def check(self, execution: str) -> Reply[Literal[Answer.READY, Answer.WAITING, Answer.ROLL_BACK]]:
        """Whether the endpoint serves what was asked for: `ready`, `waiting`, or `roll_back` with the reason."""
        progress = self._mine(execution)
        view = self.hosting.view()
        if view is None:
            return _roll_back("the endpoint is gone")
        if view.status in _IN_PROGRESS:
            return Reply(Answer.WAITING)
        if view.status == "InService" and view.config_name == progress.config_name:
            return Reply(Answer.READY)
        failure = view.failure or f"it is {view.status} with configuration {view.config_name}"
        return _roll_back(f"the endpoint did not take the configuration: {failure}")

    def start_canary(self, execution: str) -> Reply[Literal[Answer.HOLD, Answer.CUT_OVER]]:
        """Let the candidate decide beside the champion; `cut_over` at once where there is nothing to compare with.

        That is so for the first model, and for the active one where detect did not find it any more.
        """
        progress = self._mine(execution)
        if progress.stage is PromotionStage.CANARY:
            return Reply(Answer.HOLD)
        pointer = self.models.read()
        hold_s = self._plan(progress).hold_ms
        started = None if pointer is None or not hold_s else self.evidence.watermark(pointer.model_version)
        is_same = pointer is not None and pointer.model_version == progress.candidate.model_version
        if pointer is None or started is None or is_same:
            return Reply(Answer.CUT_OVER)
        servers = list(self.evidence.servers())
        reach = reach_of(servers, self.share)
        chosen = {s for s in servers if is_canary(s, reach)}
        self.models.start_canary(
            Canary(
                model_version=progress.candidate.model_version,
                package_key=progress.candidate.package_key,
                target_variant=progress.variant,
                model_data_url=progress.candidate.model_data_url,
                reach=reach,
            )
        )
        champion = self.models.load(pointer.package_key)
        progress = self._judge.begin(progress, champion, chosen, started).at(PromotionStage.CANARY)
        self.store.save(progress)
        self._tell(
            progress,
            "canary",
            f"decides beside {pointer.model_version} on {len(chosen)} of {len(servers)} servers",
            servers=len(chosen),
            since=iso(started),
        )
        return Reply(Answer.HOLD)

    def judge(self, execution: str) -> Reply[Literal[Answer.HOLD, Answer.CUT_OVER, Answer.ROLL_BACK]]:
        """Judge the slices that event time has completed: `hold`, `cut_over` or `roll_back` with the reason."""
        progress = self._mine(execution)
        plan = self._plan(progress)
        pointer = self.models.read()
        canary = self.models.canary
        if pointer is None or canary is None or canary.model_version != progress.candidate.model_version:
            return _roll_back("the canary was ended by hand")
        while len(progress.verdicts) < plan.slices:
            start = progress.canary_from + len(progress.verdicts) * plan.slice_ms
            end = start + plan.slice_ms
            is_complete, watched = self._judge.is_complete(end, pointer, progress, plan)
            if watched is not progress:
                self.store.save(progress := watched)
            if not is_complete:
                break
            package = self.models.load(progress.candidate.package_key)
            progress = self._judge.judge(progress, pointer, canary, package, start, end)
            verdict = progress.verdicts[-1]
            self._tell(progress, "slice", in_words(verdict), verdict=verdict)
            self.store.save(progress)
            if not verdict["passed"]:
                break
        passed = [bool(v["passed"]) for v in progress.verdicts]
        evident = sum(bool(v["has_evidence"]) for v in progress.verdicts)
        decision = decide(passed, evident, plan)
        if decision is CanaryOutcome.HOLD and self.clock_ms() - progress.started_ms > self.max_wait_ms:
            return _roll_back("the fleet's time did not get to the canary's end")
        if decision is CanaryOutcome.ROLL_BACK:
            return _roll_back(why_not(progress))
        return Reply(Answer.HOLD if decision is CanaryOutcome.HOLD else Answer.CUT_OVER, {"slices": len(passed)})

    def cut_over(self, execution: str) -> Reply[Literal[Answer.TRIM]]:
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
                model_data_url=candidate.model_data_url,
            )
        )
        self.models.end_canary()
        self.registry.remember(candidate)
        if progress.stage is not PromotionStage.CUT_OVER:
            progress = progress.at(PromotionStage.CUT_OVER)
            self.store.save(progress)
            before = written.previous_version or (pointer.model_version if pointer else "")
            reserved = reservation(progress.verdicts[-1]) if progress.verdicts else ""
            self._tell(progress, "cut_over", f"takes over from {before}{reserved}" if before else "is the first model")
        return Reply(Answer.TRIM)

    def trim(self, execution: str) -> Reply[Literal[Answer.CHECK, Answer.AGAIN]]:
        """Start removing the old variant."""
        progress = self._mine(execution)
        view = self.hosting.view()
        if view is not None and view.status in _IN_PROGRESS and view.config_name != progress.config_name:
            return Reply(Answer.AGAIN)
        config = self.hosting.keep_only(progress.variant)
        self.store.save(progress.at(PromotionStage.CUT_OVER, config_name=config))
        return Reply(Answer.CHECK)

    def finish(self, execution: str) -> Reply[Literal[Answer.DONE]]:
        """Leave the endpoint as it is to stay, and say that it is done."""
        progress = self._mine(execution)
        self.hosting.settle(progress.variant)
        progress = progress.at(PromotionStage.DONE)
        self.store.save(progress)
        self._tell(progress, "done", "is the only model now")
        return Reply(Answer.DONE)

    def roll_back(self, execution: str, reason: str) -> Reply[Literal[Answer.AGAIN, Answer.FINISH_ROLL_BACK]]:
        """Stop the canary and remove the candidate's variant; after the cut-over nothing is taken back any more.

        Answers `again` while the endpoint goes back, `finish_roll_back` where it has nothing to go back from.
        """
        progress = self.store.load()
        if progress is None or progress.execution != execution:
            self.announcer.tell("refused", f"A promotion was refused: {reason}", {"reason": reason})
            return Reply(Answer.FINISH_ROLL_BACK, {"reason": reason})
        if not progress.reason:
            progress = replace(progress, reason=reason)
            self.store.save(progress)
            self._tell(progress, "rolling_back", reason)
        if progress.stage is PromotionStage.CUT_OVER:
            return Reply(Answer.FINISH_ROLL_BACK, {"reason": progress.reason})
        self.models.end_canary()
        pointer, view = self.models.read(), self.hosting.view()
        champion = _champion_variant(pointer, view)
        if view is not None and view.status in _IN_PROGRESS:
            return Reply(Answer.AGAIN, {"reason": progress.reason})
        if view is None or champion is None or set(view.variants) <= {champion}:
            return Reply(Answer.FINISH_ROLL_BACK, {"reason": progress.reason})
        self.hosting.keep_only(champion)
        return Reply(Answer.AGAIN, {"reason": progress.reason})

    def finish_roll_back(self, execution: str) -> Reply[Literal[Answer.ROLLED_BACK]]:
        """Note that the candidate failed, and leave the champion's variant as it is to stay."""
        progress = self.store.load()
        if progress is None or progress.execution != execution:
            return Reply(Answer.ROLLED_BACK)
        if progress.stage is PromotionStage.CUT_OVER:
            self._tell(
                progress, "unfinished", f"is active, but the old variant could not be removed: {progress.reason}"
            )
            self.store.save(progress.at(PromotionStage.DONE))
            return Reply(Answer.ROLLED_BACK)
        view, pointer = self.hosting.view(), self.models.read()
        champion = _champion_variant(pointer, view)
        if champion is not None:
            self.hosting.settle(champion)
        if not progress.is_over:
            progress = progress.at(PromotionStage.ROLLED_BACK)
            self.store.save(progress)
            self._tell(progress, "rolled_back", progress.reason)
        return Reply(Answer.ROLLED_BACK)

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

    @property
    def _judge(self) -> SliceJudge:
        return SliceJudge(evidence=self.evidence, limits=self.limits, clock_ms=self.clock_ms)

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


def _roll_back(reason: str) -> Reply[Literal[Answer.ROLL_BACK]]:
    return Reply(Answer.ROLL_BACK, {"reason": reason})


def reason_of(state: Mapping[str, Any]) -> str:
    """Why an execution rolls back, from its data: a step's reason, or the error that Step Functions caught.

    With neither, the step gave an answer that this execution's state machine does not know: a newer function was
    deployed while it was running.
    """
    result, error = state.get("result") or {}, state.get("error") or {}
    if result.get("reason"):
        return str(result["reason"])
    cause = str(error.get("Cause", ""))
    try:
        return str(json.loads(cause)["errorMessage"])
    except (ValueError, KeyError, TypeError):
        return cause or str(
            error.get("Error") or f"a step answered {result.get('next')!r}, which its execution does not know"
        )
