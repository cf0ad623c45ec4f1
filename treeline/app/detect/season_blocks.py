"""A group's seasonal table: the blocks that a batch needs are read before it is decided, changed ones written after.

What was stored never changes, and the record that names it is committed after it: a commit that loses the race, or a
crash at any point, leaves the old table and items that nobody names (docs/decisions/0130-table-in-blocks.md).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from treeline.core.errors import ModelMismatchError
from treeline.core.expectation import season
from treeline.core.state import table
from treeline.core.state.fleet import FleetState

Slots = npt.NDArray[np.int64]
# Given a block's number and, by row, the newest slot that it has learned (None: nothing of it is stored any more),
# learns what it lacks, and says in words what that was.
LearnAgain = Callable[[int, Slots | None], str]


class BlockItems(Protocol):
    """Blocks of seasonal tables as they are stored, by group, model version, number and name."""

    def read_block(self, group: int, model_version: str, number: int, name: str) -> bytes | None:
        """What was stored under that name; None where it is no more. Damage is the caller's to notice."""

    def stored_blocks(self, group: int, model_version: str, number: int) -> Iterable[tuple[str, bytes]]:
        """Every name and block that is stored of this number, the newest first; damage is the caller's to notice."""

    def write_block(self, group: int, model_version: str, number: int, name: str, block: bytes) -> None:
        """Store it; storing it again changes nothing."""


@dataclass(frozen=True, slots=True)
class SeasonBlocks:
    """Reads and writes the blocks of a state's table."""

    items: BlockItems

    def fill(
        self,
        group: int,
        model_version: str,
        state: FleetState,
        blocks: Iterable[int],
        *,
        learn_again: LearnAgain | None = None,
    ) -> list[str]:
        """Take blocks that are stored into a state's table; what it has of the others is not to be read.

        Args:
            group: The group.
            model_version: The model whose table it is.
            state: Changed in place. Its table is as the model package has it, but for blocks filled before.
            blocks: Which of them are needed.
            learn_again: Asked for the first block that is lost: it costs reads, and a commit must not wait for several.

        Returns:
            What was lost, in words, one entry a block: these are as the last block before them that is still stored,
            or as the package has them, and are stored anew by the next `write`.
        """
        lost = self._read(group, model_version, state, set(blocks))
        if lost and learn_again is not None:
            number = min(lost)
            # What is learned of a slot goes by the levels beside it.
            beside = self._read(group, model_version, state, season.blocks_at(season.slots_of(number)))
            why, learned = lost[number]
            lost |= beside | {number: (f"{why}; {learn_again(number, learned)}", learned)}
        return [why for why, _ in lost.values()]

    def _read(
        self, group: int, model_version: str, state: FleetState, blocks: set[int]
    ) -> dict[int, tuple[str, Slots | None]]:
        """Fill blocks; of those that are lost why, and what the block that stands in for each has learned."""
        lost: dict[int, tuple[str, Slots | None]] = {}
        for number in sorted(blocks - set(state.filled)):
            name = state.table[number]
            if name:
                stored = self.items.read_block(group, model_version, number, name)
                try:
                    if stored is None:
                        raise ModelMismatchError(f"block {number} of the seasonal table is missing: {name}")
                    table.fill(state, number, name, stored)
                except ModelMismatchError as error:
                    lost[number] = str(error), self._fill_from_before(group, model_version, state, number)
            state.filled[number] = "" if number in lost else table.name_of(table.cut(state, number))
        return lost

    def _fill_from_before(self, group: int, model_version: str, state: FleetState, number: int) -> Slots | None:
        """Take the newest block of the same hour: each turn of a slot stored one, so it lacks a quarter hour or two."""
        for name, block in self.items.stored_blocks(group, model_version, number):
            try:
                learned = table.fill(state, number, name, block)
            except ModelMismatchError:
                continue  # the damaged one itself, or one of a commit that lost the race and had more servers
            return table.learned(state, number) if learned is None else learned
        return None

    def write(self, group: int, model_version: str, state: FleetState) -> None:
        """Store the filled blocks that have changed, and name them in the state, which is to be committed next."""
        for number, before in state.filled.items():
            block = table.cut(state, number)
            name = table.name_of(block)
            if name != before:
                self.items.write_block(group, model_version, number, name, block)
                state.filled[number] = state.table[number] = name
