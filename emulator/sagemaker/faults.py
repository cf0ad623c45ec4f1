"""Faults of the model host, injected by tests and the demo."""

import threading
import time
from dataclasses import dataclass
from typing import Literal, get_args

from emulator.sagemaker.errors import ServiceError

Mode = Literal["down", "throttled", "failing", "slow", "garbled", "biased"]
MODES = get_args(Mode)


@dataclass(slots=True)
class HostFault:
    """One fault.

    `variant` None means all, `count` None means until cleared, `delay_s` is for "slow", `offset` for "biased".
    """

    endpoint: str
    mode: Mode
    variant: str | None = None
    count: int | None = None
    delay_s: float = 0.0
    offset: float = 0.0

    def concerns(self, endpoint: str, variant: str) -> bool:
        """Whether it is about this variant of this endpoint."""
        return self.endpoint == endpoint and self.variant in (None, variant)


class HostFaults:
    """The faults in force."""

    def __init__(self) -> None:
        self._faults: list[HostFault] = []
        self._lock = threading.Lock()

    def add(self, fault: HostFault) -> None:
        """Put a fault in force; raises ValueError for an unknown mode."""
        if fault.mode not in MODES:
            raise ValueError(f"mode must be one of {', '.join(MODES)}, got {fault.mode!r}")
        with self._lock:
            self._faults.append(fault)

    def clear(self, endpoint: str | None) -> None:
        """Take back the faults of one endpoint, or all."""
        with self._lock:
            self._faults = [f for f in self._faults if endpoint is not None and f.endpoint != endpoint]

    def snapshot(self) -> list[dict[str, object]]:
        """The faults in force, as plain data."""
        return [{"endpoint": f.endpoint, "mode": f.mode, "variant": f.variant, "count": f.count} for f in self._faults]

    def meet(self, endpoint: str, variant: str) -> bytes | None:
        """Suffer what is in force: raise as the service would, sleep, or return a body to answer instead."""
        fault = self._take(endpoint, variant)
        if fault is None:
            return None
        match fault.mode:
            case "down":
                raise ServiceError("ServiceUnavailable", "The service is currently unavailable.", 503)
            case "throttled":
                raise ServiceError("ThrottlingException", "Rate exceeded", 400)
            case "failing":
                raise model_error(variant, 500, "injected fault")
            case "slow":
                time.sleep(fault.delay_s)
                return None
        return b'{"scores":[{"score":null}]}'

    def offset(self, endpoint: str, variant: str) -> float:
        """What is added to every score: a model that is off by a constant still answers, and on time."""
        with self._lock:
            return sum(f.offset for f in self._faults if f.mode == "biased" and f.concerns(endpoint, variant))

    def _take(self, endpoint: str, variant: str) -> HostFault | None:
        with self._lock:
            for fault in self._faults:
                if fault.mode != "biased" and fault.concerns(endpoint, variant):
                    if fault.count is not None:
                        fault.count -= 1
                        if fault.count <= 0:
                            self._faults.remove(fault)
                    return fault
        return None


def model_error(variant: str, status: int, body: str) -> ServiceError:
    """What InvokeEndpoint answers when the container does not answer with 200."""
    side = "server" if status >= 500 else "client"
    message = f'Received {side} error ({status}) from {variant} with message "{body}".'
    details = {"OriginalStatusCode": status, "OriginalMessage": body, "LogStreamArn": ""}
    return ServiceError("ModelError", message, 424, details)
