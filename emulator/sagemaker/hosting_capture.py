"""Data capture: a share of an endpoint's requests and answers, written to S3 as SageMaker lays them out."""

import json
import threading
import time
import uuid
from datetime import UTC, datetime
from typing import Any

from emulator.loopback.clients import ClientOf
from emulator.sagemaker.s3_urls import bucket_and_key

_EVERY_S = 0.5  # captured requests are written together


class Captures:
    """Samples without chance: of every hundred requests of a variant, evenly spread, as many as the percentage says."""

    def __init__(self, clients: ClientOf) -> None:
        self._clients = clients
        self._lock = threading.Lock()
        self._credit: dict[tuple[str, str], int] = {}
        self._pending: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
        self._is_writing = False

    def note(self, config: dict[str, Any], endpoint: str, variant: str, body: bytes, kind: str, answer: bytes) -> None:
        """Consider one answered request."""
        if not config.get("EnableCapture"):
            return
        with self._lock:
            credit = self._credit.get((endpoint, variant), 0) + int(config["InitialSamplingPercentage"])
            self._credit[endpoint, variant] = credit % 100
            if credit < 100:
                return
            record = {
                "captureData": {
                    "endpointInput": _data("INPUT", kind, body),
                    "endpointOutput": _data("OUTPUT", "application/json", answer),
                },
                "eventMetadata": {
                    "eventId": str(uuid.uuid4()),
                    "inferenceTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                },
                "eventVersion": "0",
            }
            self._pending.setdefault((config["DestinationS3Uri"], endpoint, variant), []).append(record)
            if self._is_writing:
                return
            self._is_writing = True
        threading.Thread(target=self._write, daemon=True, name="data-capture").start()

    def _write(self) -> None:
        time.sleep(_EVERY_S)
        with self._lock:
            pending, self._pending = self._pending, {}
            self._is_writing = False
        for (url, endpoint, variant), records in pending.items():
            bucket, prefix = bucket_and_key(url)
            hour = datetime.now(UTC).strftime("%Y/%m/%d/%H")
            key = "/".join(filter(None, [prefix, endpoint, variant, hour, f"{uuid.uuid4()}.jsonl"]))
            lines = "".join(json.dumps(record) + "\n" for record in records)
            self._clients("s3").put_object(Bucket=bucket, Key=key, Body=lines.encode())


def _data(mode: str, kind: str, content: bytes) -> dict[str, Any]:
    encoding = "CSV" if kind.startswith("text/csv") else "JSON"
    text = content.decode(errors="replace")
    return {"observedContentType": kind, "mode": mode, "data": text, "encoding": encoding}
