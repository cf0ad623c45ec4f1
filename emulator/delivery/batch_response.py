"""What a function that reports batch item failures answered. Pure."""

import json
from collections.abc import Mapping


def reported_failures(body: object) -> list[object] | None:
    """The item identifiers reported as failed; None for an answer that is no such report, which fails the batch.

    A null answer and an empty or missing list are success. An entry without an identifier gives None in its place.
    """
    if isinstance(body, (str, bytes)):
        try:
            body = json.loads(body) if body else None
        except ValueError:
            return None
    failures = body.get("batchItemFailures") if isinstance(body, Mapping) else body
    if failures is None:
        return []
    if not isinstance(body, Mapping) or not isinstance(failures, list):
        return None
    return [failure.get("itemIdentifier") if isinstance(failure, Mapping) else None for failure in failures]
