"""Every minute: dead ticks go back to work, if the model endpoint serves."""

from treeline.app.detect.reprocess import report
from treeline.wiring.reprocess import wired


def handler(event: object, context: object) -> None:
    """Redrive once; the event says only that it is time."""
    service, telemetry = wired()
    with telemetry.invocation(context):
        report(telemetry, service.reprocess())
