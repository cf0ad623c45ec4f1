"""The shift of a candidate's scores: excused by what the champion's did the same way, and never made of it."""

import pytest

from tests.unit.promotion_fakes import package
from treeline.app.promote.comparison import score_shift


@pytest.mark.parametrize(
    ("candidate", "champion", "shift"),
    [
        (1.0, 0.0, 1.0),
        (1.0, 0.6, 0.4),  # the fleet moved, the same way
        (1.0, 3.0, 0.0),
        (-1.0, -0.6, -0.4),
        (0.0, -2.0, 0.0),  # the champion is still learning a change that the candidate was trained on
        (0.3, -2.0, 0.3),
    ],
)
def test_a_champions_move_excuses_and_does_not_accuse(candidate: float, champion: float, shift: float):
    model = package("m2", mean=2.0)
    model.seeds.score_var[:] = 0.25
    (server, count) = (next(iter(model.seeds.rows())), 100)
    sums = {server: (count, count * (2.0 + 0.5 * candidate), count * (1.0 + 0.1 * champion))}
    assert score_shift(sums, model, {server: (1.0, 0.1)}) == pytest.approx(shift, abs=1e-6)


def test_a_server_that_the_champion_had_not_scored_counts_as_unmoved():
    model = package("m2", mean=2.0)
    model.seeds.score_var[:] = 0.25
    server = next(iter(model.seeds.rows()))
    assert score_shift({server: (100, 250.0, 900.0)}, model, {}) == pytest.approx(1.0)
