import gzip
import io
import json
import tarfile
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from treeline.core.errors import ModelMismatchError
from treeline.forest.forest import RandomCutForest
from treeline.forest.storage import MEMBER, fingerprint, load, read_model_tar, save, write_model_tar

ROWS = np.random.default_rng(3).normal(size=(800, 3))
FOREST = RandomCutForest.fit(ROWS, num_trees=8, num_samples_per_tree=64, seed=9)


def arrays_of(forest: RandomCutForest) -> dict[str, np.ndarray]:
    """What the forest's file holds."""
    file = io.BytesIO()
    save(forest, file)
    file.seek(0)
    with np.load(file) as archive:
        return dict(archive)


STORED = arrays_of(FOREST)


def saved(**changes: np.ndarray) -> io.BytesIO:
    """The forest's file with some of its arrays replaced."""
    changed = io.BytesIO()
    np.savez(changed, **(STORED | changes))
    changed.seek(0)
    return changed


def header(**changes: object) -> np.ndarray:
    with np.load(saved()) as archive:
        return np.array(json.dumps(json.loads(str(archive["header"])) | changes))


def targz(name: str, content: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return out.getvalue()


def test_a_loaded_forest_is_the_saved_one(tmp_path):
    path = tmp_path / "no-extension"
    save(FOREST, path)
    loaded = load(path)
    np.testing.assert_array_equal(loaded.score(ROWS), FOREST.score(ROWS))
    assert loaded.provenance == FOREST.provenance
    assert fingerprint(loaded) == fingerprint(FOREST)


def test_the_same_forest_gives_the_same_bytes():
    """So that an artifact's hash identifies the model."""
    again = RandomCutForest.fit(ROWS, num_trees=8, num_samples_per_tree=64, seed=9)
    assert write_model_tar(again) == write_model_tar(FOREST)


def test_a_fit_and_its_file_are_those_of_the_first_version():
    """The same rows and seed give the bytes they always gave, so stored forests stay readable and comparable."""
    rows = np.round(ROWS, 1)
    forest = RandomCutForest.fit(rows, num_trees=8, num_samples_per_tree=64, seed=9)
    assert fingerprint(forest) == "fd97eb7865f582a29506722858d5e01bef81deac2ff2710c9bb14df6b256c49f"
    stored = arrays_of(forest)
    lows, highs = stored["boxes"][:, 0::2], stored["boxes"][:, 1::2]
    np.testing.assert_array_equal((lows == highs).all(axis=1), stored["cut_dims"] == -1)
    assert (lows <= highs).all()
    assert forest.score(rows).sum() == pytest.approx(709.5644571313067, rel=1e-7)


def test_a_model_tar_round_trips_also_as_other_tools_write_it():
    tar = write_model_tar(FOREST)
    npz = io.BytesIO()
    save(FOREST, npz)
    for archive in (tar, targz(f"./{MEMBER}", npz.getvalue())):
        np.testing.assert_array_equal(read_model_tar(archive).score(ROWS), FOREST.score(ROWS))


def test_a_changed_value_is_noticed():
    boxes = STORED["boxes"].copy()
    boxes[5, 1] += 1
    with pytest.raises(ModelMismatchError, match="does not match its fingerprint"):
        load(saved(boxes=boxes))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "a-spreadsheet"}, "its format is 'a-spreadsheet'"),
        ({"format_version": 2}, "version 2 found, this code reads 1"),
        ({"provenance": {"seed": 1}}, "does not say what it was fitted with"),
        ({"fingerprint": "0" * 64}, "does not match its fingerprint"),
    ],
)
def test_a_file_with_another_header_is_refused(change, message):
    with pytest.raises(ModelMismatchError, match=message):
        load(saved(header=header(**change)))


def with_item(name: str, index: int, value: float) -> dict[str, np.ndarray]:
    array = getattr(FOREST.trees, name).copy()
    array[index] = value
    return {name: array}


@pytest.mark.parametrize(
    "change",
    [
        with_item("lefts", 0, 0),  # a circle
        with_item("lefts", 0, 10**9),  # out of bounds
        with_item("lefts", 0, -5),
        with_item("cut_dims", 0, 3),  # a feature that does not exist
        with_item("cut_dims", 0, -2),
        with_item("roots", 0, -1),
        with_item("masses", 0, 0),
        with_item("boxes", 0, np.nan),
        with_item("cut_values", 0, np.inf),
        {"masses": STORED["masses"][:-1]},
        {"boxes": STORED["boxes"][:, :5]},
        {"boxes": STORED["boxes"].astype(np.float64)},
        {"roots": np.zeros(0, dtype=np.int32)},
        {"roots": np.zeros((1, 1), dtype=np.int32)},
        {"lefts": STORED["lefts"][:, None]},
    ],
)
def test_arrays_that_would_lead_a_walk_astray_are_refused(change):
    with pytest.raises(ModelMismatchError):
        load(saved(**change))


def test_a_pickle_is_never_executed():
    with pytest.raises(ModelMismatchError):
        load(saved(masses=np.array([print], dtype=object)))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip", b"\x93NUMPY", b"{}"])
def test_a_file_that_is_no_forest_is_refused(content):
    with pytest.raises(ModelMismatchError, match="not a saved forest"):
        load(io.BytesIO(content))


def test_an_array_file_that_is_no_archive_is_refused():
    one_array = io.BytesIO()
    np.save(one_array, np.zeros(3))
    one_array.seek(0)
    with pytest.raises(ModelMismatchError, match="not a saved forest"):
        load(one_array)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a model.tar.gz"),
        (b"plain text", "not a model.tar.gz"),
        (gzip.compress(b"no tar", mtime=0), "not a model.tar.gz"),
        (write_model_tar(FOREST)[:2000], "not a"),
        (targz("model.bin", b"x"), "holds no forest.npz"),
        (targz(f"../{MEMBER}", b"x"), "holds no forest.npz"),
        (targz(MEMBER, b"x"), "not a saved forest"),
    ],
)
def test_an_archive_without_a_forest_is_refused(content, message):
    with pytest.raises(ModelMismatchError, match=message):
        read_model_tar(content)


@pytest.mark.parametrize("header", [b"{'descr': (", b"  {\n }\n) "])
def test_an_array_whose_header_is_no_python_is_refused(header):
    damaged = io.BytesIO()
    with zipfile.ZipFile(saved()) as whole, zipfile.ZipFile(damaged, "w") as archive:
        for name in whole.namelist():
            content = whole.read(name)
            if name == "boxes.npy":
                size = int.from_bytes(content[8:10], "little")
                content = content[:10] + header.ljust(size - 1) + b"\n" + content[10 + size :]
            archive.writestr(name, content)
    with pytest.raises(ModelMismatchError, match="not a saved forest"):
        load(io.BytesIO(damaged.getvalue()))


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_refused_or_the_same_forest_but_never_crashes(data):
    """Bits flip in transfer; the reader's libraries answer that with a dozen different errors."""
    archived = data.draw(st.booleans())
    content = bytearray(write_model_tar(FOREST) if archived else saved().getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        loaded = read_model_tar(bytes(content)) if archived else load(io.BytesIO(content))
    except ModelMismatchError:
        return
    assert fingerprint(loaded) == fingerprint(FOREST)
