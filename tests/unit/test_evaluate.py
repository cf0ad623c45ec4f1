import pytest

from training.evaluate.judge import Opening, Tier, Verdict, evaluate, evaluate_tiers, f_score
from training.history.labels import Label, merge_labels

MINUTE = 60_000
DAY = 86_400_000
OBSERVED = {"web-1": (0, 2 * DAY), "web-2": (0, 2 * DAY)}


def label(start: float, end: float, server: str = "web-1", kind: str = "") -> Label:
    return Label(server_id=server, start_ms=int(start * MINUTE), end_ms=int(end * MINUTE), kind=kind)


def opening(at: float, server: str = "web-1", priority: str = "P1", incident: str = "") -> Opening:
    return Opening(server_id=server, at_ms=int(at * MINUTE), priority=priority, incident_id=incident)


def test_a_label_is_found_by_an_opening_inside_it_and_the_delay_counts_from_its_onset():
    result = evaluate([label(100, 160)], [opening(112)], observed=OBSERVED, tier="P1")
    assert (result.hits, result.misses, result.false_openings) == (1, 0, 0)
    assert result.delay_p50_s == 12 * 60
    assert result.precision == result.recall == result.f1 == 1.0


@pytest.mark.parametrize(("minute", "hits"), [(90, 1), (89.9, 0), (170, 1), (170.1, 0)])
def test_the_margin_is_ten_minutes_on_both_sides_inclusive(minute, hits):
    result = evaluate([label(100, 160)], [opening(minute)], observed=OBSERVED, tier="P1")
    assert (result.hits, result.false_openings) == (hits, 1 - hits)


def test_repeats_inside_one_label_count_neither_way():
    result = evaluate([label(100, 400)], [opening(110), opening(200), opening(390)], observed=OBSERVED, tier="P1")
    assert (result.hits, result.repeats, result.false_openings) == (1, 2, 0)
    assert [j.verdict for j in result.judged_openings] == [Verdict.HIT, Verdict.REPEAT, Verdict.REPEAT]


def test_an_opening_of_another_server_finds_nothing():
    result = evaluate([label(100, 160)], [opening(110, server="web-2")], observed=OBSERVED, tier="P1")
    assert (result.hits, result.misses, result.false_openings) == (0, 1, 1)
    assert {row.name: row.false_openings for row in result.per_server} == {"web-1": 0, "web-2": 1}


def test_labels_under_an_hour_apart_are_one_and_an_hour_apart_are_two():
    assert merge_labels([label(0, 10, kind="a"), label(69, 80, kind="b")], gap_ms=60 * MINUTE) == [
        label(0, 80, kind="a+b")
    ]
    assert len(merge_labels([label(0, 10), label(70, 80)], gap_ms=60 * MINUTE)) == 2
    assert len(merge_labels([label(0, 10), label(12, 20, server="web-2")], gap_ms=60 * MINUTE)) == 2


def test_an_incident_that_rises_to_p1_pages_once_in_each_tier_at_its_own_time():
    openings = [opening(105, priority="P2", incident="i"), opening(130, priority="P1", incident="i")]
    results = evaluate_tiers([label(100, 160)], openings, observed=OBSERVED)
    assert results[Tier.P1].delay_p50_s == 30 * 60
    assert results[Tier.ALL].delay_p50_s == 5 * 60
    assert results[Tier.ALL].repeats == 0


def test_p2_openings_do_not_page_in_the_p1_tier():
    results = evaluate_tiers([], [opening(105, priority="P2")], observed=OBSERVED)
    assert (results[Tier.P1].false_openings, results[Tier.ALL].false_openings) == (0, 1)


def test_false_pages_are_counted_per_server_day():
    result = evaluate([], [opening(10), opening(500), opening(10, server="web-2")], observed=OBSERVED, tier="P1")
    assert result.server_days == 4.0
    assert result.false_pages_per_server_day == 0.75


def test_figures_without_a_basis_are_none():
    silent = evaluate([label(100, 160)], [], observed=OBSERVED, tier="P1")
    assert (silent.precision, silent.recall, silent.f1, silent.delay_p50_s) == (None, 0.0, 0.0, None)
    unlabelled = evaluate([], [opening(5)], observed=OBSERVED, tier="P1")
    assert (unlabelled.precision, unlabelled.recall, unlabelled.recall_ci) == (0.0, None, None)
    empty = evaluate([], [], observed={}, tier="P1")
    assert (empty.f1, empty.f1_ci, empty.false_pages_per_server_day) == (None, None, None)


def test_labels_outside_the_observed_range_are_left_out_and_counted():
    labels = [label(-500, -300), label(5000, 5100), label(-20, 30), label(7, 9, server="db-9")]
    result = evaluate(labels, [opening(3)], observed={"web-1": (0, DAY)}, tier="P1")
    assert (result.labels, result.labels_outside) == (1, 3)
    assert result.delay_p50_s == 180  # from the first observed moment


def test_an_opening_of_an_unobserved_server_is_an_error():
    with pytest.raises(ValueError, match="db-9"):
        evaluate([], [opening(3, server="db-9")], observed=OBSERVED, tier="P1")


def test_a_fleet_incident_is_false_only_when_no_server_is_in_trouble():
    beside = evaluate([label(100, 160)], [opening(120, server="fleet")], observed=OBSERVED, tier="P1")
    assert (beside.hits, beside.repeats, beside.false_openings) == (0, 1, 0)
    alone = evaluate([label(100, 160)], [opening(900, server="fleet")], observed=OBSERVED, tier="P1")
    assert alone.false_openings == 1
    assert alone.per_server[-1].name == "fleet"


def test_f_half_weighs_precision_more():
    assert f_score(5, 5, 0, beta=0.5) == pytest.approx(1.25 * 5 / (1.25 * 5 + 0.25 * 5))
    assert f_score(5, 5, 0, beta=0.5) > f_score(5, 0, 5, beta=0.5)


def test_intervals_hold_the_figure_and_repeat():
    labels = [label(1000 * i, 1000 * i + 30) for i in range(40)]
    openings = [opening(1000 * i + 5) for i in range(0, 40, 2)] + [opening(1000 * i + 500) for i in range(10)]
    span = {"web-1": (0, 40 * DAY)}
    first, second = (evaluate(labels, openings, observed=span, tier="P1") for _ in range(2))
    assert first.precision_ci == second.precision_ci
    assert first.precision_ci.low < first.precision < first.precision_ci.high
    assert first.recall_ci.low < first.recall < first.recall_ci.high
    assert first.f1_ci.low < first.f1 < first.f1_ci.high


def test_kinds_are_told_apart():
    labels = [label(100, 130, kind="leak"), label(900, 930, kind="spike")]
    result = evaluate(labels, [opening(905)], observed=OBSERVED, tier="P1")
    assert {row.name: (row.hits, row.labels) for row in result.per_kind} == {"leak": (0, 1), "spike": (1, 1)}
    assert "judged_labels" not in result.to_json()
