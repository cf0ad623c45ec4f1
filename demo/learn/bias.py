"""Make a model worse on purpose, so that its canary has something to find."""

from dataclasses import replace

from treeline.forest.forest import RandomCutForest
from treeline.forest.storage import read_model_tar, write_model_tar

SHRUNK = 0.25  # with 0.5 a canary took until its second hour to find it


def shrunk(model_data: bytes) -> bytes:
    """The model.tar.gz of the same forest, grown as if its training rows had lain a quarter as far from 0.

    Rows are standardized, so what is usual lies outside its boxes, and every score is too high.
    """
    forest = read_model_tar(model_data)
    trees = replace(forest.trees, boxes=SHRUNK * forest.trees.boxes, cut_values=SHRUNK * forest.trees.cut_values)
    return write_model_tar(RandomCutForest(trees, forest.provenance))
