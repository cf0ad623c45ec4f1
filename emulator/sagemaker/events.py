"""What SageMaker tells the default event bus.

PutEvents refuses sources that begin with `aws.`, on AWS and in the emulator alike; only the services themselves may
use them, so this calls the emulator's own entry for built-in emitters.
"""

import json
import logging
import queue
import threading

from ministack.core.responses import request_scope
from ministack.services import eventbridge

from emulator.loopback.environment import ACCOUNT_ID, REGION
from emulator.sagemaker.store import Resource

_log = logging.getLogger("treeline.events")


class EventBus:
    """Delivers state changes one after the other, in the order they happened, off the callers' threads."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[Resource] = queue.SimpleQueue()
        threading.Thread(target=self._deliver, daemon=True, name="sagemaker-events").start()

    def announce(self, detail_type: str, arn: str, resource: Resource) -> None:
        """Put a state change on the bus; returns at once, since the caller may hold a lock."""
        detail = json.dumps({k: v for k, v in resource.items() if k != "ProductionVariants"}, default=str)
        self._waiting.put({"Source": "aws.sagemaker", "DetailType": detail_type, "Resources": [arn], "Detail": detail})

    def _deliver(self) -> None:
        while True:
            entry = self._waiting.get()
            try:
                with request_scope(ACCOUNT_ID, REGION):
                    eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)
            except Exception:  # noqa: BLE001 -- logged; the thread has to live on
                # One event's trouble must not silence the bus: every later approval would be lost with it.
                _log.exception("event %s of %s was not delivered", entry["DetailType"], entry["Resources"])
