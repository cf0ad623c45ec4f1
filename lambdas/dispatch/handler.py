"""Every minute: two ticks for every group."""

from treeline.app.detect.dispatch import report
from treeline.wiring.dispatch import wired


def handler(event: object, context: object) -> None:
    """Send one heartbeat; the event says only that it is time."""
    service, telemetry = wired()
    with telemetry.invocation(context):
        report(telemetry, service.dispatch())
