"""An endpoint, a registry and a fleet in memory, and a walk through the state machine's own definition."""

import json
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from stacks.workflows.promotion import definition
from treeline.app.detect.handover import Pointer
from treeline.app.detect.scoreblock import ScoreBlock, Status
from treeline.app.promote.canary import Canary
from treeline.app.promote.ports import CallTotals, EndpointView, Hosting
from treeline.app.promote.progress import Candidate, Progress, PromotionError
from treeline.app.promote.protocol import START
from treeline.app.promote.service import PromotionService
from treeline.core.detection.calibration import Calibration
from treeline.core.detection.features import feature_names
from treeline.core.errors import ModelMismatchError
from treeline.core.model.canary import CanaryLimits, HoldPlan
from treeline.core.model.package import ModelPackage
from treeline.core.state.fleet import FleetState

HOUR = 3_600_000
SERVERS = [f"s{i:02d}" for i in range(20)]


def package(version: str, mean: float = 1.0) -> ModelPackage:
    seeds = FleetState(1, servers=list(SERVERS))
    seeds.phase[:], seeds.score_mean[:], seeds.score_var[:] = 1, mean, 0.04
    return ModelPackage(
        model_version=version, metrics=("cpu",), features=feature_names(("cpu",)), step_s=60.0,
        calibration=Calibration(), seeds=seeds, typical={}, fingerprint="f",
    )  # fmt: skip


@dataclass
class World:
    """Every port of the service."""

    endpoint: EndpointView | None = None
    pointer: Pointer | None = None
    canary: Canary | None = None
    progress: Progress | None = None
    packages: dict[str, ModelPackage] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    remembered: dict[str, Candidate] = field(default_factory=dict)
    running: set[str] = field(default_factory=set)
    told: list[tuple[str, str]] = field(default_factory=list)  # (step, summary)
    details: list[dict[str, Any]] = field(default_factory=list)  # of each of these
    update_fails: str = ""
    update_takes: int = 0  # looks at the endpoint that find it updating
    updating: int = 0
    at: int = 0  # the fleet's event time
    candidate_at: int | None = None  # where the candidate is stuck
    bias: float = 0.0
    errors: int = 0
    pages: int = 0
    now_ms: int = 0
    updates: int = 0
    settled: list[str] = field(default_factory=list)
    answered: set[tuple[str, str]] = field(default_factory=set)  # (state, answer)

    def candidate(self, arn: str) -> Candidate:
        version = arn.rpartition("/")[2]
        return Candidate(model_version=version, package_key=version, package_arn=arn, image="i", model_data_url="u")

    def known(self, version: str) -> Candidate:
        if version not in self.remembered:
            raise PromotionError(f"model {version} was not promoted here before")
        return self.remembered[version]

    def remember(self, candidate: Candidate) -> None:
        self.remembered[candidate.model_version] = candidate

    def require(self, candidate: Candidate) -> None:
        if candidate.model_version in self.missing:
            raise PromotionError("no model data at u")

    def view(self) -> EndpointView | None:
        if self.endpoint is not None and self.updating > 0:
            self.updating -= 1
            return replace(self.endpoint, status="Updating")
        return self.endpoint

    def serves(self, pointer: Pointer) -> bool:
        return self.endpoint is not None and pointer.target_variant in self.endpoint.variants

    def ensure_model(self, candidate: Candidate) -> str:
        return f"model-{candidate.model_version}"

    def _apply(self, variants: tuple[str, ...]) -> str:
        config = "+".join(variants)
        if self.endpoint is not None and self.endpoint.config_name == config:
            return config
        self.updates += 1
        self.updating = self.update_takes
        if self.update_fails:
            status = "InService" if self.endpoint else "Failed"
            old = self.endpoint or EndpointView(status=status, config_name="")
            self.endpoint = replace(old, status=status, failure=self.update_fails)
        else:
            self.endpoint = EndpointView(status="InService", config_name=config, variants=variants)
        return config

    def host(self, model_name: str, variant: str, *, beside: str | None) -> str:
        return self._apply((variant,) if beside in (None, variant) else (beside, variant))

    def keep_only(self, variant: str) -> str:
        return self._apply((variant,))

    def settle(self, variant: str) -> None:
        self.settled.append(variant)

    def abandon(self) -> None:
        self.endpoint = None

    def read(self) -> Pointer | None:
        return self.pointer

    def load(self, key: str = "") -> Any:
        if not key:
            return self.progress
        if key not in self.packages:
            raise ModelMismatchError(f"no model package at {key}")
        return self.packages[key]

    def point_at(self, wanted: Pointer) -> Pointer:
        now = self.pointer
        is_same = now is not None and now.model_version == wanted.model_version
        before = "" if now is None else now.previous_version if is_same else now.model_version
        self.pointer = replace(wanted, previous_version=before)
        return self.pointer

    def start_canary(self, canary: Canary) -> Canary:
        self.canary = canary
        return canary

    def end_canary(self) -> None:
        self.canary = None

    def save(self, progress: Progress) -> None:
        self.progress = Progress.from_json(progress.to_json())

    def is_running(self, execution: str) -> bool:
        return execution in self.running

    def servers(self) -> list[str]:
        return SERVERS

    def watermark(self, version: str) -> int | None:
        if self.pointer is not None and version == self.pointer.model_version:
            return self.at
        return self.at if self.candidate_at is None else self.candidate_at

    def blocks(self, start: int, end: int, *, model_version: str, is_candidate: bool) -> list[ScoreBlock]:
        if is_candidate and self.candidate_at is not None:
            return []
        servers = [s for s in SERVERS if not is_candidate or (self.canary and self.canary.covers(s))]
        times = np.arange(max(start, 0), min(end, self.at), 60_000)
        noise = np.sin(np.arange(len(times) * len(servers)))
        n = len(noise)
        mean = float(self.packages[model_version].seeds.score_mean[0]) + (self.bias if is_candidate else 0.0)
        return [
            ScoreBlock(
                servers=servers, model_version=model_version, version=1,
                server=np.tile(np.arange(len(servers)), len(times)).astype(np.uint16),
                observed_at=np.repeat(times, len(servers)),
                status=np.full(n, Status.SCORED, dtype=np.uint8),
                score=mean + 0.2 * noise, severity=np.zeros(n, dtype=np.float32),
                features=np.zeros((n, 12), dtype=np.float32),
            )
        ]  # fmt: skip

    def candidate_pages(self, version: str, start: int, end: int) -> int:
        return self.pages

    def champion_pages(self, servers: list[str], start: int, end: int) -> int:
        return 0

    def totals(self, version: str, role: str) -> CallTotals:
        calls = 100 * (self.at // HOUR)
        return CallTotals(calls=calls, errors=self.errors if role == "candidate" else 0, durations={20.0: calls})

    def tell(self, step: str, summary: str, details: Any) -> None:
        self.told.append((step, summary))
        self.details.append(dict(details))


class Walker:
    """Follows the deployed definition's states; waits advance the world's time."""

    def __init__(self, world: World, execution: str = "e1", hosting: Hosting | None = None, **request: Any) -> None:
        self.world, self.execution, self.request = world, execution, request
        self.states = definition("arn", timeout_s=1)["States"]
        self.service = PromotionService(
            registry=world, artifacts=world, hosting=hosting or world, models=world, evidence=world, store=Books(world),
            announcer=world, limits=CanaryLimits(), plan=HoldPlan(hold_ms=24 * HOUR, slice_ms=HOUR), share=0.1,
            max_wait_ms=200 * HOUR, clock_ms=lambda: world.now_ms,
        )  # fmt: skip
        self.data: dict[str, Any] = {"request": request}

    def walk(self, *, stop_at: str = "", limit: int = 400) -> str:
        """Until the end, or before a state is entered; its name."""
        name = START
        for _ in range(limit):
            self.at = name
            if name == stop_at:
                return name
            state = self.states[name]
            match state["Type"]:
                case "Succeed" | "Fail":
                    return name
                case "Wait":
                    self.world.now_ms += HOUR
                    self.world.at += HOUR
                    name = state["Next"]
                case "Choice":
                    answer = self.data["result"]["next"]
                    found = [c["Next"] for c in state["Choices"] if c["StringEquals"] == answer]
                    name = found[0] if found else state["Default"]
                case "Task":
                    name = self._task(state)
        raise AssertionError(f"no end after {limit} states, in {name}")

    def _task(self, state: dict[str, Any]) -> str:
        """Run the step as Step Functions would: parameters by their paths, an error as its name and cause."""
        paths = {"$": self.data, "$.request": self.request, "$$.Execution.Id": self.execution}
        event = {
            name.removesuffix(".$"): paths[value] if name.endswith(".$") else value
            for name, value in state["Parameters"].items()
        }
        try:
            self.data["result"] = self.service.run(json.loads(json.dumps(event))).to_json()
        except Exception as error:
            if "Catch" not in state:
                raise
            cause = {"errorMessage": str(error), "errorType": type(error).__name__}
            self.data["error"] = {"Error": type(error).__name__, "Cause": json.dumps(cause)}
            return str(state["Catch"][0]["Next"])
        self.world.answered.add((self.at, self.data["result"]["next"]))
        return str(state["Next"])


class Books:
    """The progress store over a world, whose `load` is the packages'."""

    def __init__(self, world: World) -> None:
        self.world = world

    def load(self) -> Progress | None:
        return self.world.progress

    def save(self, progress: Progress) -> None:
        self.world.save(progress)

    def is_running(self, execution: str) -> bool:
        return self.world.is_running(execution)
