"""The pipeline's Evaluate step: `python -m training.jobs.evaluate`. Calibrates, packages and judges a trained forest.

Leaves `package/package.zip` (baselines, calibration, provenance) and `package/evaluation.json` (the verdict). A
candidate that does not pass is no error of this step: the pipeline's next ones say no, with the reasons.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

import boto3

from training.evaluate.budget import Budget
from training.evaluate.calibrate import SOLVED, Solution, calibrated, within
from training.evaluate.candidate import CandidateLimits, Contender, Judgement, compare, judge, place_faults
from training.evaluate.champion import Champions
from training.evaluate.scorers import Scorers
from training.history.grid import Grid
from training.jobs import entry as job
from training.prepare.calibrating import Score, calibrate_package
from training.prepare.fleet_file import LEAD_IN_MS, FleetFile
from treeline.core.detection.policy_settings import PolicySettings
from treeline.core.model.drift import reference
from treeline.core.model.package import ModelPackage
from treeline.core.times import iso
from treeline.settings.learning import PageBudget
from treeline.settings.values import read

SCHEMA_VERSION = 1
_AWS = cast("Callable[[str], Any]", boto3.client)


def parser() -> argparse.ArgumentParser:
    """The step's arguments, as the pipeline's definition writes them."""
    options = argparse.ArgumentParser(prog="python -m training.jobs.evaluate", description=__doc__)
    options.add_argument("--fleet", type=Path, required=True, help="what Prepare left")
    options.add_argument("--model", type=Path, required=True, help="folder of the training job's model.tar.gz")
    options.add_argument("--out", type=Path, required=True)
    for name in ("model-version", "model-data", "image", "role", "instance-type", "reason", "group"):
        options.add_argument(f"--{name}", required=True)
    for name in ("num-trees", "num-samples-per-tree"):
        options.add_argument(f"--{name}", type=int, required=True, help="as the training job was asked for")
    options.add_argument("--controls-table", required=True, help="where the champion's pointer stands")
    options.add_argument("--models-bucket", required=True, help="where its package lies")
    options.add_argument("--policy", type=json.loads, default={}, help="JSON overrides of the incident policy")
    options.add_argument("--policy-override", type=json.loads, default={}, help="JSON of what stands over that policy")
    options.add_argument("--page-budget", type=json.loads, default={}, help="JSON of the stage's learning.page_budget")
    options.add_argument("--seed", type=int, default=1)
    for limit in fields(CandidateLimits):
        options.add_argument(f"--{limit.name.replace('_', '-')}", type=float, required=True)
    return options


def work(arguments: Sequence[str], client: Callable[[str], Any] = _AWS) -> None:
    """Do the step; raises ModelMismatchError when what it was given does not belong together."""
    asked = parser().parse_args(arguments)
    fleet = FleetFile.read(asked.fleet)
    prepared = fleet.prepared
    policy = read(PolicySettings, {**asked.policy, **asked.policy_override}, "--policy")
    budget = Budget.of(read(PageBudget, asked.page_budget, "--page-budget"))
    faults = place_faults(fleet.holdout(), seed=asked.seed)
    champions = Champions(client, asked.controls_table, asked.models_bucket, asked.group)
    champion, note = champions.current(fleet.recent.metrics, fleet.holdout_from_ms)
    manifest = {**fleet.manifest, "reason": asked.reason, "model_data": asked.model_data, "image": asked.image}

    def judged(package: ModelPackage, score: Score, grid: Grid) -> Judgement:
        contender = Contender(package, score, grid, fleet.groups)
        return judge(contender, faults, policy, holdout_from_ms=fleet.holdout_from_ms)

    with Scorers(client, asked.model_version, asked.role, asked.instance_type) as scorers:
        trained = scorers.of_artifact(asked.model, asked.model_data, asked.image)
        score, rows = trained.score, prepared.unseen_rows
        manifest["reference"] = reference(score(rows), rows).to_json()
        per_tree = min(asked.num_samples_per_tree, len(prepared.training_rows) // asked.num_trees)
        package = calibrate_package(
            prepared,
            score,
            model_version=asked.model_version,
            samples_per_tree=trained.samples_per_tree or per_tree,
            manifest=manifest,
        )
        solution: Solution | None = None
        if budget is not None:
            solution = calibrated(package, score, fleet.unlearned(), budget, policy, groups=fleet.groups)
            package = within(package, solution)
        candidate = judged(package, score, fleet.holdout())
        rival = None
        if champion is not None:
            champion_score = scorers.of_url(champion.model_data_url, champion.image)
            # It cannot go through what it has learned once more: its state is of a later moment.
            unseen_ms = fleet.holdout_from_ms - 1 - champion.learned_until_ms
            rival = judged(champion.package, champion_score, fleet.holdout(lead_in_ms=min(LEAD_IN_MS, unseen_ms)))
    limits = CandidateLimits(**{limit.name: getattr(asked, limit.name) for limit in fields(CandidateLimits)})
    notes = [*([note] if note else []), *([str(solution)] if solution else [])]
    verdict = compare(candidate, rival, limits, notes=notes)
    body = {
        "schema_version": SCHEMA_VERSION,
        "model_version": asked.model_version,
        "fingerprint": package.fingerprint,
        "reason": asked.reason,
        "holdout": [iso(fleet.holdout_from_ms), iso(int(fleet.recent.times_ms[-1]))],
        "faults_put_in": len(faults),
        SOLVED: None if solution is None else solution.to_json(),
        **verdict.to_json(),
    }
    folder = asked.out / "package"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.zip").write_bytes(package.to_bytes())
    (folder / "evaluation.json").write_text(json.dumps(body, indent=1), encoding="utf-8")
    print(f"{'passed' if verdict.passed else 'not passed'}: {'; '.join(verdict.reasons)}")


if __name__ == "__main__":
    sys.exit(job.run(work, sys.argv[1:]))
