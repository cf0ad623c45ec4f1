"""Permissions that stay though no recorded call uses them, each with its reason."""

from tests.infra.permissions import Use

ACKNOWLEDGED: dict[Use, str] = {
    Use("detection/ReprocessFunction", "sqs:ChangeMessageVisibility", "detection/TicksDead"): (
        "Gives back dead ticks that could not be sent on; the embedded cloud's queue never refuses half a batch."
    ),
    Use("detection/DetectFunction", "dynamodb:Query", "state/Controls"): (
        "Reads the active model, a canary and a shadow in one query; recorded with the next `make permissions`."
    ),
}
