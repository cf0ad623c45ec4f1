"""The judge's evidence, where the tables are behind the state."""

import numpy as np

from treeline.app.detect.ports import Record
from treeline.app.detect.scoreblock import ScoreBlock, Status
from treeline.app.promote.canary import candidate_group
from treeline.aws.promote.canary_evidence import CanaryEvidence
from treeline.core.state.fleet import FleetState


def block(version: str, at: int) -> ScoreBlock:
    return ScoreBlock(
        servers=["a"], model_version=version, version=1, server=np.zeros(1, dtype=np.uint16),
        observed_at=np.array([at]), status=np.full(1, Status.SCORED, dtype=np.uint8), score=np.ones(1),
        severity=np.zeros(1, dtype=np.float32), features=np.zeros((1, 12), dtype=np.float32),
    )  # fmt: skip


class Tables:
    """Blocks by group, and one record whose block is not among them yet."""

    def __init__(self) -> None:
        self.by_group = {0: [block("champion", 1)], candidate_group(0): [block("candidate", 1)]}

    def load(self, group: int, version: str) -> Record:
        return Record(group, version, FleetState(1, servers=["a"]), block(version, 2))

    def read(self, group: int, start: int, end: int, *, model_version: str) -> list[ScoreBlock]:
        return self.by_group[group]


def test_a_decision_counts_from_its_commit_on():
    """The commit holds the block, the scores table gets it after: a judge in between saw an hour without evidence."""
    tables = Tables()
    evidence = CanaryEvidence(
        None, records=tables, scores=tables, decisions=None, incidents_table="", groups=lambda: 1,
        active_version=lambda: "champion",
    )  # fmt: skip
    for version, is_candidate in (("champion", False), ("candidate", True)):
        found = evidence.blocks(0, 10, model_version=version, is_candidate=is_candidate)
        assert [(b.model_version, b.observed_at.tolist()) for b in found] == [(version, [1]), (version, [2])]
