"""What the training pipeline's Evaluate step said of a registered model, for people.

Read as plain JSON: importing what wrote it would take a second, and older evaluations may be of an older form.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from treeline.aws.learn.artifacts import ModelArtifacts
from treeline.aws.learn.registry import RegisteredModel

Evaluation = Mapping[str, Any]  # evaluation.json


def evaluation_of(model: RegisteredModel, artifacts: ModelArtifacts) -> Evaluation | None:
    """The evaluation that was registered with a model; None where it is not there any more."""
    _, _, key = model.evaluation_url.removeprefix("s3://").partition("/")
    data = artifacts.read(key) if key else None
    return None if data is None else json.loads(data)


def budget_of(evaluation: Evaluation | None) -> str:
    """What the stage's page budget made of the model's thresholds, in a few words."""
    if evaluation is None:
        return "no evaluation"
    solved = evaluation.get("page_budget")
    if not solved:
        return "no page budget"
    return "budget: " + "; ".join(f"{tier['tier']} {_in_short(tier)}" for tier in solved["tiers"])


def _in_short(tier: Mapping[str, Any]) -> str:
    moved = f"{tier['decades']:g} decades rarer, " if tier["decades"] else ""
    return moved + str(tier["outcome"]).partition(":")[0]


def lines(model: RegisteredModel, evaluation: Evaluation | None, *, is_active: bool) -> Iterator[str]:
    """A model on a screen."""
    yield f"{model.model_version}, version {model.number} in the registry{', decides now' if is_active else ''}"
    yield f"  {model.approval}{f' ({model.note})' if model.note else ''}, of {model.created_at[:16]}: {model.reason}"
    yield f"  {model.algorithm}, rows {model.fingerprint}, package {model.package_key}"
    if evaluation is None:
        yield f"  no evaluation at {model.evaluation_url or 'any address in the registry'}"
        return
    reasons = [reason for reason in evaluation["reasons"] if not reason.startswith("page budget ")]  # said below
    yield f"  evaluation: {'passed' if evaluation['passed'] else 'not passed'}, {'; '.join(reasons)}"
    solved = evaluation.get("page_budget")
    if not solved:
        yield "  page budget: none, thresholds are as trained"
        return
    yield f"  page budget: {solved['budget']}, over {solved['server_days']:.0f} server-days of the past"
    for tier in solved["tiers"]:
        yield (
            f"    {tier['tier']}: {tier['decades']:g} of {solved['most_decades']:g} decades rarer, {tier['outcome']} "
            f"(pages in that past: {tier['allowed_pages']:.2g} allowed, {tier['shipped_pages']} as trained, "
            f"{tier['expected_pages']} now)"
        )
    yield "  (what was registered; `treeline threshold list` says what an operator put over it)"
