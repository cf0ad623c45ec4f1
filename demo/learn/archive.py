"""The history bucket's other end: what CloudWatch's history, or a lake, would hold by now."""

import io

import numpy as np
import pandas as pd

from demo.cloud import Deployment
from training.history.grid import Grid
from treeline.settings import outputs


class Archive:
    """Adds stretches of a fleet's observations to the history that training reads."""

    def __init__(self, deployment: Deployment) -> None:
        self._s3 = deployment.client("s3")
        self._bucket = deployment.output(outputs.TRAINING_BUCKET)
        self._parts = 0

    def add(self, grid: Grid) -> None:
        """One more parquet file in the history format."""
        times, servers, _ = grid.values.shape
        columns = {
            "timestamp": pd.to_datetime(np.repeat(grid.times_ms, servers), unit="ms", utc=True),
            "server_id": np.tile(np.array(grid.servers), times),
        }
        columns |= {name: grid.values[:, :, i].ravel() for i, name in enumerate(grid.metrics)}
        body = io.BytesIO()
        pd.DataFrame(columns).to_parquet(body, index=False)
        key = f"history/part-{self._parts:05d}.parquet"
        self._s3.put_object(Bucket=self._bucket, Key=key, Body=body.getvalue())
        self._parts += 1
