"""An asyncio event loop whose clock jumps: hours of waiting take no time, in the order they would."""

import asyncio
import selectors


class _Jump(selectors.DefaultSelector):
    """Instead of waiting for the next timer, moves the loop's clock there."""

    loop: "SimulatedTimeLoop"

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("nothing is scheduled, so this would wait for ever")
        if timeout > 0:
            self.loop.moment_s += timeout
        return super().select(0)


class SimulatedTimeLoop(asyncio.SelectorEventLoop):
    """`loop.time()` starts at 0 and advances only by what is slept."""

    def __init__(self) -> None:
        selector = _Jump()
        selector.loop = self
        self.moment_s = 0.0
        super().__init__(selector)

    def time(self) -> float:
        return self.moment_s
