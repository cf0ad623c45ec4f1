"""What a stage's tables say of its servers: their groups and labels, and when each was observed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.history.observed import ObservedTimes
from treeline.app.detect.scoreblock import Status
from treeline.aws.client_types import DynamoDBClient
from treeline.aws.detect.score_blocks import ScoreBlocks
from treeline.aws.dynamodb import values_of


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredServer:
    """A server that has sent something at some time."""

    group: int
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class StageServers:
    """The servers table as a training run needs it, read once."""

    servers: Mapping[str, RegisteredServer]
    group_size: int  # the stage's

    def of(self, server_id: str) -> Mapping[str, str]:
        """A server's labels; empty where it has none or is not known."""
        found = self.servers.get(server_id)
        return {} if found is None else found.labels

    def groups(self, servers: Sequence[str]) -> dict[str, int]:
        """The group in which each server is decided.

        Those that have not sent anything yet are numbered after the others, in this order: as ingest will do if they
        come so. Where they come in another order, some of their peers will sit in another group, and are nobody there.
        """
        unknown = [server for server in servers if server not in self.servers]
        numbers = {server: number for number, server in enumerate(unknown, len(self.servers))}
        return {
            server: self.servers[server].group if server in self.servers else numbers[server] // self.group_size
            for server in servers
        }


def registered_servers(dynamodb: DynamoDBClient, table: str) -> dict[str, RegisteredServer]:
    """Every server of the servers table; reads all of it, about 200 bytes a server."""
    servers = {}
    for page in dynamodb.get_paginator("scan").paginate(TableName=table):
        for item in page["Items"]:
            row = values_of(item)
            if "group" in row:  # the table's counter has none
                servers[row["server_id"]] = RegisteredServer(group=row["group"], labels=row.get("labels", {}))
    return servers


def observed_servers(
    blocks: ScoreBlocks, servers: Mapping[str, RegisteredServer], *, start_ms: int, end_ms: int
) -> dict[str, ObservedTimes]:
    """When each server was observed in [start, end), by the stored scores; those that were not are missing.

    Scores expire (`tables` of the stage's file), and with them what a judge can say of a day. Observations that came
    too late to be scored do not count: nothing watched them.
    """
    times: dict[str, list[npt.NDArray[np.int64]]] = {}
    for group in sorted({server.group for server in servers.values()}):
        for block in blocks.read(group, start_ms, end_ms):
            within = (block.observed_at >= start_ms) & (block.observed_at < end_ms) & (block.status != Status.TOO_LATE)
            for index, name in enumerate(block.servers):
                own = block.observed_at[within & (block.server == index)]
                if len(own):
                    times.setdefault(name, []).append(own)
    return {name: ObservedTimes(np.unique(np.concatenate(parts))) for name, parts in sorted(times.items())}
