"""The judge's evidence, from the tables that detect writes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass

from treeline.app.detect.ports import Record, Records
from treeline.app.detect.scoreblock import ScoreBlock
from treeline.app.promote.canary import Side, candidate_group
from treeline.app.promote.ports import CallTotals
from treeline.aws.client_types import DynamoDBClient
from treeline.aws.detect.score_blocks import ScoreBlocks
from treeline.aws.incident_index import opened_between
from treeline.aws.promote.candidate_decisions import CandidateDecisions
from treeline.core.detection.policy import FLEET
from treeline.core.state.layout import NEVER
from treeline.core.times import iso

_ALIVE_MS = 3_600_000  # a group this far behind the others has stopped reporting


@dataclass(frozen=True, slots=True)
class CanaryEvidence:
    """See `treeline.app.promote.ports.Evidence`."""

    dynamodb: DynamoDBClient
    _: KW_ONLY
    records: Records  # the detector-state table, without hand-over
    scores: ScoreBlocks
    decisions: CandidateDecisions
    incidents_table: str
    groups: Callable[[], int]  # how many groups of servers there are
    active_version: Callable[[], str | None]  # the active model's version; None before the first

    def servers(self) -> Sequence[str]:
        """All servers the active model decides."""
        version = self.active_version()
        return [] if version is None else [s for record in self._all(version) for s in record.state.servers]

    def watermark(self, model_version: str) -> int | None:
        """Event time up to which a model has decided all groups that are alive; None before its first decision."""
        newest = [int(r.state.last_at.max()) for r in self._all(model_version) if len(r.state.last_at)]
        newest = [at for at in newest if at != NEVER]
        return min((at for at in newest if at >= max(newest) - _ALIVE_MS), default=None)

    def blocks(self, start_ms: int, end_ms: int, *, model_version: str, is_candidate: bool) -> Sequence[ScoreBlock]:
        """Score blocks with observations in [start, end).

        A group's last block stands in its state before it is in the scores table: a reader that sees
        the state past an hour must see that hour's decisions too.
        """
        found: list[ScoreBlock] = []
        for group in range(self.groups()):
            record = self.records.load(group, model_version)
            own = candidate_group(group) if is_candidate else group
            found += self.scores.read(own, start_ms, end_ms, model_version=model_version)
            if record is not None and record.block is not None:
                found.append(record.block)
        return found

    def candidate_pages(self, model_version: str, start_ms: int, end_ms: int) -> int:
        """Incidents the candidate opened."""
        return self.decisions.pages(model_version, iso(start_ms), iso(end_ms))

    def champion_pages(self, servers: Sequence[str], start_ms: int, end_ms: int) -> int:
        """Incidents the champion opened for these servers."""
        wanted = set(servers) - {FLEET}
        incidents = opened_between(self.dynamodb, self.incidents_table, start_ms, end_ms)
        return sum(item["server_id"]["S"] in wanted for item in incidents)

    def totals(self, model_version: str, role: Side) -> CallTotals:
        """Calls of the `champion` or the `candidate` during this candidate's canary."""
        return self.decisions.totals(model_version, role)

    def _all(self, model_version: str) -> Iterator[Record]:
        for group in range(self.groups()):
            record = self.records.load(group, model_version)
            if record is not None:
                yield record
