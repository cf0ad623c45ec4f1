"""The seeds in a package's file: cut into members, so that a function reads those of its own group's servers only."""

import hashlib
import json
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from treeline.core.errors import ModelMismatchError
from treeline.core.state.fleet import FleetState

SERVERS_A_MEMBER = 50
LARGEST_MEMBER = 1 << 30  # bytes when unpacked; more is no package of ours
INDEX = "servers.json"
_UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, KeyError, ValueError)


def member(number: int) -> str:
    """The name of one of the members with seeds."""
    return f"seeds/{number:05d}.bin"


def members_of(seeds: FleetState) -> Iterator[tuple[str, bytes]]:
    """The members that hold a state's rows, and the index of its servers, by name."""
    for number, first in enumerate(range(0, len(seeds.servers), SERVERS_A_MEMBER)):
        yield member(number), seeds.part(slice(first, first + SERVERS_A_MEMBER)).pack()
    yield INDEX, json.dumps(seeds.servers, separators=(",", ":")).encode()


def read_member(archive: zipfile.ZipFile, name: str, check_sum: str | None = None) -> bytes:
    """A member's bytes; raises ModelMismatchError where it is missing, damaged, too large, or not what was written."""
    try:
        if archive.getinfo(name).file_size > LARGEST_MEMBER:
            raise ModelMismatchError(f"model package: {name} would unpack to more than {LARGEST_MEMBER} bytes")
        data = archive.read(name)
    except _UNREADABLE as error:
        raise ModelMismatchError(f"not a model package: {error}") from error
    if check_sum is not None and hashlib.sha256(data).hexdigest() != check_sum:
        raise ModelMismatchError(f"model package: {name} is damaged, its SHA-256 is not {check_sum}")
    return data


@dataclass(frozen=True, slots=True)
class SeedFile:
    """An open package's seeds, of which some are in memory and the rest still in the file."""

    archive: zipfile.ZipFile
    check_sums: dict[str, str]  # by member
    rows: dict[str, int] = field(default_factory=dict)  # server -> its row among all seeds

    @classmethod
    def of(cls, archive: zipfile.ZipFile, check_sums: Any) -> "SeedFile":
        """The seeds of an archive whose manifest has these check sums; raises ModelMismatchError for damage."""
        try:
            sums = {str(name): str(value) for name, value in check_sums.items()}
            servers = json.loads(read_member(archive, INDEX, sums[INDEX]))
        except (AttributeError, KeyError, ValueError) as error:
            raise ModelMismatchError(f"model package: the index of its seeds is not readable: {error}") from error
        return cls(archive, sums, {server: row for row, server in enumerate(servers)})

    def read(self, servers: Iterable[str]) -> list[FleetState]:
        """The servers' seeds in order, a state a member; servers without seeds are left out."""
        wanted = defaultdict[int, list[str]](list)
        for server in sorted(set(servers) & self.rows.keys(), key=self.rows.__getitem__):
            wanted[self.rows[server] // SERVERS_A_MEMBER].append(server)
        found = []
        for number, here in wanted.items():
            name = member(number)
            part = FleetState.unpack(read_member(self.archive, name, self.check_sums.get(name, "")))
            known = part.rows()
            try:
                found.append(part.part([known[server] for server in here]))
            except KeyError as error:
                raise ModelMismatchError(f"model package: {name} lacks the server {error}") from error
        return found
