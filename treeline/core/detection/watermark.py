"""Which observations may be decided now, so that the order of arrival changes no result.

A server's severity depends on what its group did one bucket earlier (the fleet cycle). So an observation of bucket b
waits until every active server of the group has sent something of bucket b - 1 or later; normally all have.

A silent server is waited for once. When an observation of a bucket was received `wait_ms` ago, the bucket is released:
it is decided without the servers that are missing. A server that has sent nothing of the bucket before the latest
released one holds nobody back until it has caught up. A decided bucket counts as released.
"""

import numpy as np
import numpy.typing as npt

from treeline.core.detection.features import Index
from treeline.core.state.layout import NEVER

ACTIVE_BUCKETS = 120  # a server not seen for so many buckets no longer holds others back


def decidable(
    rows: Index,
    observed_at: npt.NDArray[np.int64],
    received_at: npt.NDArray[np.int64],
    last_at: npt.NDArray[np.int64],
    *,
    step_ms: int,
    now_ms: int,
    wait_ms: int,
    last_received_at: npt.NDArray[np.int64] | None = None,
) -> npt.NDArray[np.bool_]:
    """Which of a group's unscored observations may be decided.

    Args:
        rows: Server row of each observation, shape (n,); rows beyond `last_at` are servers new to the group.
        observed_at: Event time, milliseconds, shape (n,).
        received_at: Receipt, milliseconds, shape (n,).
        last_at: Event time of each known server's last decided observation, shape (servers,), NEVER for none.
        step_ms: Width of a bucket.
        now_ms: The clock.
        wait_ms: How long an observation waits for silent servers, by receipt.
        last_received_at: Receipt of each known server's last decided observation, NEVER where the last one is a
            seed's, which nobody waited for. Without it a silent server is waited for again and again.

    Returns:
        Shape (n,) bool. Of one server's observations always a prefix in event time.
    """
    servers = max(int(rows.max(initial=-1)) + 1, len(last_at))
    newest = np.full(servers, NEVER, dtype=np.int64)
    newest[: len(last_at)] = last_at
    np.maximum.at(newest, rows, observed_at)
    newest_bucket = newest // step_ms
    buckets = observed_at // step_ms
    # The whole bucket of an observation that has waited long enough is released, and every bucket before it.
    released = int(buckets[received_at <= now_ms - wait_ms].max(initial=NEVER))
    if last_received_at is not None:
        decided = last_at[last_received_at != NEVER]
        released = max(released, int((decided // step_ms).max(initial=NEVER)))
    active = (
        (newest != NEVER)
        & (newest_bucket > newest_bucket.max(initial=NEVER) - ACTIVE_BUCKETS)
        & (newest_bucket >= released - 1)
    )
    complete = int(newest_bucket[active].min(initial=np.iinfo(np.int64).max - 1))
    allowed: npt.NDArray[np.bool_] = buckets <= max(complete + 1, released)
    return allowed
