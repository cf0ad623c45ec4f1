"""The learning loop as a story in event time: first model, calm days, a shift, the next model, and whether it stays."""

import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from demo import cloud as stage
from demo.cloud import Deployment
from demo.learn.archive import Archive
from demo.learn.bias import shrunk
from demo.learn.event_time import EventTime
from demo.learn.fleet import DAY_MS, DriftingFleet, LearnPlan, drifting_fleet, last_report
from demo.learn.stopwatch import Stopwatch
from demo.learn.watch import ModelWatch
from demo.screen import DemoScreen
from emulator.launcher import EmbeddedCloud
from stacks.config.stage import merged
from treeline.app.promote.progress import Progress, PromotionStage
from treeline.core.profile import declared
from treeline.core.times import iso

HOUR_MS = 3_600_000
# What differs from a deployment's defaults: a small fleet is judged by fewer observations, and walls of waiting are
# short. Everything that is measured in event time (24 h in slices of 1 h, 7 and 14 days of drift) is as deployed.
OVERRIDES: dict[str, Any] = {
    "ticks": {"batching_window_s": 0, "heartbeat": False},
    "learning": {
        "forest": {"num_trees": 50, "num_samples_per_tree": 256},
        "training": {"window_days": 5.0, "holdout_days": 1.0},
    },
    "promotion": {"poll_s": 1, "endpoint_poll_s": 1, "settle_s": 0, "limits": {"min_observations": 8}},
    "drift": {"scheduled": False},
}


@dataclass(slots=True)
class Story:
    """What happened, by event time; `ok` says whether it ended as it should."""

    ok: bool = False
    problems: list[str] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    drift: list[dict[str, Any]] = field(default_factory=list)
    first_model: str = ""
    second_model: str = ""
    active_model: str = ""
    trainings: int = 0
    breaches: int = 0
    canary_h: float = 0.0
    canary_servers: int = 0
    pages_by_second: int = 0
    outcome: str = ""
    why: str = ""
    days: int = 0
    records: int = 0
    heartbeats: int = 0  # dispatch's, while a chunk waited for a server that had fallen silent
    wall_s: float = 0.0
    wall_by_part: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}


def learn(plan: LearnPlan, screen: DemoScreen) -> Story:
    """Play it from an empty machine to the end; writes summary.json.

    Raises:
        TreelineError: Something did not come up, or did not happen in time.
    """
    began, watch = time.monotonic(), Stopwatch()
    with watch.of("generating the fleet"):
        fleet = drifting_fleet(plan)
    plan.output.mkdir(parents=True, exist_ok=True)
    with (
        EmbeddedCloud(directory=plan.output / "cloud") as cloud,
        tempfile.TemporaryDirectory(prefix="treeline-assembly-") as folder,
    ):
        screen.step("synthesizing and deploying the CloudFormation templates")
        overrides = merged(OVERRIDES, plan.overrides)
        with screen.spinner("synthesizing"), watch.of("synthesis"):
            assembly = stage.build(Path(folder), declared(fleet.past.metrics), cloud.pagerduty.url, overrides)
        with watch.of("deployment"):
            deployment = stage.deploy(cloud, assembly)
        story = Loop(plan, deployment, fleet, screen, watch).play()
    story.wall_s, story.wall_by_part = round(time.monotonic() - began, 1), watch.rounded()
    (plan.output / "summary.json").write_text(json.dumps(story.to_json(), indent=1) + "\n", encoding="utf-8")
    return story


class Loop:
    """One run of the loop. It sends observations and lets time pass; it starts, approves and promotes nothing."""

    def __init__(
        self, plan: LearnPlan, deployment: Deployment, fleet: DriftingFleet, screen: DemoScreen, stopwatch: Stopwatch
    ) -> None:
        self._plan = plan
        self._deployment = deployment
        self._fleet = fleet
        self._screen = screen
        self._watch = ModelWatch(deployment)
        self._stopwatch = stopwatch
        self._story = Story()
        self._now_ms = int(fleet.live.times_ms[0])

    def play(self) -> Story:
        """First model, then every day; judged at the end."""
        story, fleet = self._story, self._fleet
        archive = Archive(self._deployment)
        archive.add(fleet.past)
        self._screen.step(
            f"{self._plan.past_days} days of {self._plan.servers} servers are in the history bucket; "
            "the training pipeline is started, once"
        )
        with (
            self._screen.spinner("first training run and first promotion"),
            self._stopwatch.of("first training and promotion"),
        ):
            self._watch.wait_trained(self._watch.start_first_training())
            story.first_model = story.active_model = self._watch.wait_active().model_version
        self._event("first model is active", model=story.first_model)
        clock = EventTime(
            self._deployment,
            fleet.live,
            archive,
            between_chunks=self._between_chunks,
            on_drift=self._on_drift,
            watch=self._stopwatch,
        )
        start = int(fleet.live.times_ms[0])
        for day_end in clock.run(start, start + self._plan.live_days * DAY_MS):
            story.days = (day_end - start) // DAY_MS
            if self._plan.bias_sd and story.outcome:
                break  # drift goes on, and after its cool-down it would ask for the next model: another story
        story.records, story.heartbeats = clock.sent.records, clock.heartbeats
        self._conclude()
        return story

    def _between_chunks(self, now_ms: int) -> None:
        """Event time waits for what takes no event time: a training run, a judgement that is due.

        A canary begins and ends at a midnight. Its last slice is judged before time goes on, so the drift check of that
        midnight always sees the model that won.
        """
        self._now_ms = now_ms
        progress = self._watch.promotion()
        if progress is None or progress.candidate.model_version == self._story.first_model:
            return
        self._watch.wait_judged(last_report(self._fleet.live, progress.reference, now_ms))
        self._note_promotion(self._watch.promotion())

    def _on_drift(self, at_ms: int, report: Mapping[str, Any]) -> None:
        story = self._story
        self._now_ms = at_ms
        story.drift.append({"at": iso(at_ms), **{k: report[k] for k in ("outcome", "shift", "measure", "breaches")}})
        if report["outcome"] not in ("stable", "no_model"):
            self._event(
                f"drift {report['outcome']}: {report['measure']} {report['shift']:+.2f} sd, breach {report['breaches']}"
            )
        if not report["run_id"]:
            return
        story.trainings += 1
        story.breaches = max(story.breaches, int(report["breaches"]))
        with self._screen.spinner("retraining"), self._stopwatch.of("retraining, canary hosted"):
            self._watch.wait_trained(report["run_id"])
            self._watch.wait_promotion_begun(story.first_model)
        progress = self._watch.promotion()
        if progress is None:
            return
        story.second_model = progress.candidate.model_version
        self._event("retrained, registered, approved, hosted beside the champion", model=story.second_model)
        if self._plan.bias_sd:
            self._bias(progress)

    def _bias(self, progress: Progress) -> None:
        candidate, endpoint = progress.candidate, self._deployment.endpoint_name
        if endpoint:
            offset = self._plan.bias_sd * self._watch.reference_of(candidate.package_key).score_sd
            self._deployment.cloud.sagemaker.fault(endpoint, "biased", variant=progress.variant, offset=offset)
            self._event(f"from here on the new model's scores are {offset:+.3f} off ({self._plan.bias_sd:g} sd)")
            return
        bucket, _, key = candidate.model_data_url.removeprefix("s3://").partition("/")
        s3 = self._deployment.client("s3")
        worse = shrunk(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        s3.put_object(Bucket=bucket, Key=key, Body=worse)  # no worker reads it before the canary's first observation
        self._event("the new model's forest was exchanged: to the one that is there now everything looks strange")

    def _note_promotion(self, progress: Any) -> None:
        story = self._story
        if story.outcome or not progress.is_over:
            return
        story.canary_h = len(progress.verdicts) * float(self._watch.slice_s) / 3600.0
        story.outcome, story.why = progress.stage.value, progress.reason
        story.canary_servers = len(progress.reference)
        said = f" because {progress.reason}" if progress.reason else ""
        self._event(f"{progress.stage.value.replace('_', ' ')} after {story.canary_h:g} h of canary{said}")

    def _conclude(self) -> None:
        story = self._story
        progress, pointer = self._watch.promotion(), self._watch.active()
        if progress is not None and progress.candidate.model_version != story.first_model:
            self._note_promotion(progress)
        story.active_model = "" if pointer is None else pointer.model_version
        expected = PromotionStage.ROLLED_BACK if self._plan.bias_sd else PromotionStage.DONE
        checks = {
            "drift asked for exactly one retraining": story.trainings == 1,
            "after 3 consecutive breaches": story.breaches == 3,
            f"the promotion ended as {expected.value}": story.outcome == expected.value,
            "the right model is active": story.active_model
            == (story.first_model if self._plan.bias_sd else story.second_model),
        }
        story.pages_by_second = self._watch.told_by(story.second_model) if story.second_model else 0
        if self._plan.bias_sd:
            checks["it was rolled back before 24 h"] = 0 < story.canary_h < 24
            checks["nobody was paged by it"] = story.pages_by_second == 0
        else:
            checks["the canary was held 24 h"] = story.canary_h == 24
        story.problems = [what for what, holds in checks.items() if not holds]
        story.ok = not story.problems

    def _event(self, what: str, **facts: Any) -> None:
        self._story.events.append({"at": iso(self._now_ms), "what": what, **facts})
        self._screen.console.print(f"  [dim]{iso(self._now_ms)[:16].replace('T', ' ')}[/]  {what}")
