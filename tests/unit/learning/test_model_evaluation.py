"""A registered model says what a page budget made of its thresholds."""

from dataclasses import replace

import pytest

from cli.model_evaluation import budget_of, lines
from training.evaluate.budget import Budget
from training.evaluate.calibrate import Outcome, Solution, TierResult
from training.evaluate.pages import Tier
from treeline.aws.learn.registry import RegisteredModel
from treeline.core.detection.calibration import Calibration
from treeline.settings.learning import PageBudget

BUDGET = Budget.of(PageBudget(p1_per_week=1.0, p2_per_day=2.0))
P1 = TierResult(tier=Tier.P1, allowed=0.2, shipped=3, expected=3, decades=0.0, outcome=Outcome.TOO_SHORT)
ALL = TierResult(tier=Tier.ALL, allowed=3.0, shipped=9, expected=2, decades=1.25, outcome=Outcome.RAISED)
MODEL = RegisteredModel(
    arn="arn:aws:sagemaker:us-east-1:000000000000:model-package/treeline/3",
    number=3,
    approval="Approved",
    created_at="2026-11-20T06:00:00+00:00",
    image="forest:1",
    model_data_url="s3://models/forests/m3/model.tar.gz",
    model_version="m3",
    package_key="packages/m3/package.zip",
    fingerprint="abc",
    reason="drift",
    algorithm="container",
    evaluation_url="s3://models/packages/m3/evaluation.json",
    note="",
)


def evaluated(*tiers: TierResult):
    """An evaluation as the pipeline writes it."""
    solution = Solution(calibration=Calibration(), tiers=tiers, server_days=140.0, budget=BUDGET)
    return {
        "passed": True,
        "reasons": ["recall 90%", str(solution)],
        "page_budget": solution.to_json() if tiers else None,
    }


def test_a_line_of_the_list_says_by_how_much_each_tier_was_raised_or_why_not():
    assert budget_of(evaluated(P1, ALL)) == (
        "budget: P1 past too short for pages so rare; P1+P2 1.25 decades rarer, raised until it was kept"
    )


@pytest.mark.parametrize(
    ("outcome", "decades", "told"),
    [
        (Outcome.KEPT, 0.0, "P1+P2 kept by the trained thresholds"),
        (Outcome.NOT_KEPT, 2.0, "P1+P2 2 decades rarer, not kept"),
        (Outcome.NOT_KEPT, 0.0, "P1+P2 not kept"),
    ],
)
def test_every_outcome_reads_by_itself(outcome, decades, told):
    assert budget_of(evaluated(replace(ALL, outcome=outcome, decades=decades))) == f"budget: {told}"


def test_a_model_without_a_budget_or_without_its_evaluation_says_so():
    assert budget_of(evaluated()) == "no page budget"
    assert budget_of({"passed": True, "reasons": []}) == "no page budget", "as evaluations were before there was one"
    assert budget_of(None) == "no evaluation"


def test_a_model_is_shown_with_the_pages_its_past_would_have_sent():
    shown = "\n".join(lines(MODEL, evaluated(P1, ALL), is_active=True))
    assert "m3, version 3 in the registry, decides now" in shown
    assert "evaluation: passed, recall 90%\n" in shown, "the budget is said once, below"
    assert "page budget: 1 P1 a week and 2 P2 a day for 500 servers, over 140 server-days" in shown
    assert "P1: 0 of 2 decades rarer, past too short" in shown
    assert (
        "P1+P2: 1.25 of 2 decades rarer, raised until it was kept (pages in that past: 3 allowed, 9 as trained, 2 n"
        in shown
    )
    assert "no evaluation at s3://models/packages/m3/evaluation.json" in "\n".join(lines(MODEL, None, is_active=False))
