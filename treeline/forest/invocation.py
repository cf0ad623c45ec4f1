"""Answer one scoring request, apart from how it arrived: the HTTP server and the embedded cloud both call this."""

import json
from http import HTTPStatus
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from treeline.forest import content

# SageMaker's InvokeEndpoint takes no larger body.
MAX_BODY_BYTES = 6 * 1024 * 1024


class ScoringForest(Protocol):
    """What `respond` needs of a forest."""

    def score(self, rows: content.Rows, /) -> NDArray[np.float64]:
        """Scores (n,) of rows (n, features); raises ValueError for rows that are no use to it."""


def respond(forest: ScoringForest, content_type: str, accept: str, body: bytes) -> tuple[int, str, bytes]:
    """Score a request body; returns (status, content type, body).

    Bad input never raises: it is answered with 400 (cannot be parsed, wrong width, not finite), 413 (too large), 415
    (content type) or 406 (accept) and one line of JSON, `{"error": ...}`, naming row and column where it can. An
    empty body has no rows and gets no scores.
    """
    if len(body) > MAX_BODY_BYTES:
        return refuse(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body may have {MAX_BODY_BYTES} bytes, this one has {len(body)}"
        )
    try:
        rows, _ = content.decode(content_type or content.CSV, body)
    except content.UnsupportedContentTypeError as error:
        return refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, str(error))
    except content.UnparsableBodyError as error:
        return refuse(HTTPStatus.BAD_REQUEST, str(error))
    try:
        scores = forest.score(rows)
    except ValueError as error:
        return refuse(HTTPStatus.BAD_REQUEST, str(error))
    try:
        return int(HTTPStatus.OK), *content.encode_scores(accept, scores)
    except content.UnsupportedContentTypeError as error:
        return refuse(HTTPStatus.NOT_ACCEPTABLE, str(error))


def refuse(status: HTTPStatus, reason: str) -> tuple[int, str, bytes]:
    """An error answer: one line of JSON."""
    return int(status), content.JSON, (json.dumps({"error": reason}) + "\n").encode()
