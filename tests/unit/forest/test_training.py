import numpy as np
import pytest

from treeline.core.errors import UsageError
from treeline.forest import recordio
from treeline.forest.storage import fingerprint
from treeline.forest.training import RowSample, fit_channel

ROWS = np.round(np.random.default_rng(8).normal(size=(3000, 3)), 3)
WANTED = {"feature_dim": "3", "num_trees": "50", "num_samples_per_tree": "16"}


def csv(rows: np.ndarray) -> bytes:
    return "\n".join(",".join(map(repr, row)) for row in rows.tolist()).encode()


PLAIN = ("text/csv;label_size=0", csv(ROWS))


def test_a_forest_has_what_the_hyperparameters_say():
    forest = fit_channel([PLAIN], WANTED, seed=1)
    assert (forest.num_trees, forest.num_samples_per_tree, forest.feature_dim) == (50, 16, 3)
    assert forest.provenance.training_rows == 3000


def test_defaults_are_those_of_the_built_in_algorithm():
    forest = fit_channel([PLAIN], {"feature_dim": "3"}, seed=1)
    assert (forest.num_trees, forest.provenance.requested_samples_per_tree) == (100, 256)


def test_how_the_rows_are_cut_into_files_and_written_does_not_matter():
    labelled = np.column_stack((np.arange(len(ROWS)) % 2, ROWS))
    channels = [
        [PLAIN],
        [("text/csv;label_size=0", csv(ROWS[:7])), ("text/csv;label_size=0", b""), ("text/csv", csv(labelled[7:]))],
        [("application/x-recordio-protobuf", recordio.encode(ROWS))],
    ]
    prints = {fingerprint(fit_channel(files, WANTED, seed=1)) for files in channels}
    assert len(prints) == 1


def test_the_seed_decides():
    one, other = (fit_channel([PLAIN], WANTED, seed=seed) for seed in (1, 2))
    assert fingerprint(one) != fingerprint(other)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"feature_dim": None}, "feature_dim is required"),
        ({"feature_dim": "0"}, r"feature_dim must be in \[1, 10000\], got 0"),
        ({"feature_dim": "three"}, "feature_dim must be a whole number, got 'three'"),
        ({"num_trees": "49"}, r"num_trees must be in \[50, 1000\], got 49"),
        ({"num_trees": "1001"}, "num_trees must be in"),
        ({"num_trees": "50.5"}, "num_trees must be a whole number"),
        ({"num_samples_per_tree": "0"}, r"num_samples_per_tree must be in \[1, 2048\], got 0"),
        ({"num_samples_per_tree": "2049"}, "num_samples_per_tree must be in"),
        ({"shingle_size": "4"}, "unknown hyperparameter 'shingle_size'"),
    ],
)
def test_a_wrong_hyperparameter_is_named(change, reason):
    wanted = {name: value for name, value in (WANTED | change).items() if value is not None}
    with pytest.raises(UsageError, match=reason):
        fit_channel([PLAIN], wanted, seed=1)


@pytest.mark.parametrize("extremes", [("50", "1"), ("1000", "2048")])
def test_the_ends_of_the_ranges_are_allowed(extremes):
    wanted = WANTED | {"num_trees": extremes[0], "num_samples_per_tree": extremes[1]}
    assert fit_channel([PLAIN], wanted, seed=1).num_trees == int(extremes[0])


def test_what_concerns_only_a_test_channel_is_accepted():
    wanted = WANTED | {"eval_metrics": '["accuracy"]', "mini_batch_size": "1000"}
    assert fit_channel([PLAIN], wanted, seed=1).num_trees == 50


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (("text/csv;label_size=0", b"1,2\n"), "train file 1: expected 3 columns, got 2"),
        (("text/csv", csv(ROWS)), "train file 1: expected 3 columns, got 2"),
        (("text/csv;label_size=0", b"1,2,3\n1,nan,3\n"), "train file 1: row 1, column 1"),
        (("text/csv;label_size=0", b"1,2,1e31\n"), "train file 1: row 0, column 2"),
        (("text/csv;label_size=0", b"1,2,3\na,2,3\n"), "train file 1: row 1, column 0: 'a' is not a number"),
        (("text/plain", b"1,2,3\n"), "train file 1: content type 'text/plain'"),
        (("application/x-recordio-protobuf", b"1,2,3\n"), "train file 1: record 0"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(file, reason):
    with pytest.raises(UsageError, match=reason):
        fit_channel([PLAIN, file], WANTED, seed=1)


@pytest.mark.parametrize("files", [[], [("text/csv;label_size=0", b"")], [("text/csv;label_size=0", csv(ROWS[:49]))]])
def test_a_channel_with_fewer_rows_than_trees_is_refused(files):
    with pytest.raises(UsageError, match="train channel: 50 trees need at least as many rows"):
        fit_channel(files, WANTED, seed=1)


def test_a_sample_of_a_stream_is_uniform_over_it():
    """Each of 20 rows is in a sample of 5 a quarter of the time, wherever in the stream it stands."""
    counts = np.zeros(20)
    for seed in range(2000):
        sample = RowSample(5, np.random.default_rng(seed))
        for batch in np.split(np.arange(20.0)[:, None], [3, 4, 11]):
            sample.add(batch)
        assert len(sample.rows) == 5
        counts[sample.rows[:, 0].astype(int)] += 1
    np.testing.assert_allclose(counts / 2000, 0.25, atol=0.045)
