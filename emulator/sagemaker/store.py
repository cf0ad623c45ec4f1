"""Named resources with creation and modification times, and the listing rules all SageMaker lists share."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from emulator.loopback.environment import ACCOUNT_ID, REGION
from emulator.sagemaker.errors import ServiceError, not_found, validation

Resource = dict[str, Any]
Action = Callable[[Resource], Resource]
Announce = Callable[[str, str, Resource], None]  # detail type, ARN and resource of a state change, onto the event bus


def arn(kind: str, name: str) -> str:
    """The ARN of a resource of this account."""
    return f"arn:aws:sagemaker:{REGION}:{ACCOUNT_ID}:{kind}/{name}"


def plain_name(name_or_arn: str) -> str:
    """What is named by its name or by its ARN."""
    return name_or_arn.rsplit("/", 1)[-1]


@dataclass(slots=True)
class Store:
    """The resources of one kind, by name."""

    noun: str  # as in actions and fields, e.g. "EndpointConfig" for CreateEndpointConfig and EndpointConfigName
    kind: str  # as in the ARN, e.g. "endpoint-config"
    lock: threading.RLock  # shared by all stores of a service
    _resources: dict[str, Resource] = field(init=False, default_factory=dict)

    @property
    def _title(self) -> str:
        """As in error messages."""
        return self.kind.replace("-config", " configuration").replace("-", " ")

    def reading(self, list_field: str, *fields: str) -> dict[str, Action]:
        """The Describe* and List* actions; a list's entry has the name, the ARN, the time of creation and `fields`."""
        name = f"{self.noun}Name"
        listed = (name, f"{self.noun}Arn", "CreationTime", *fields)
        return {
            f"Describe{self.noun}": lambda request: dict(self.get(plain_name(request[name]))),
            f"List{self.noun}s": lambda request: page(self.all(), request, name, listed, list_field),
        }

    def create(self, name: str, resource: Resource, duplicate: ServiceError | None = None) -> Resource:
        """Add a resource; raises `duplicate` (a ValidationException by default) when the name is taken."""
        with self.lock:
            if name in self._resources:
                raise duplicate or validation(f'Cannot create already existing {self._title} "{arn(self.kind, name)}".')
            now = time.time()
            self._resources[name] = {**resource, "CreationTime": now, "LastModifiedTime": now}
            return self._resources[name]

    def get(self, name: str) -> Resource:
        """The resource; raises ServiceError when there is none."""
        with self.lock:
            if name not in self._resources:
                raise not_found(self._title, arn(self.kind, name))
            return self._resources[name]

    def change(self, name: str, **values: Any) -> None:
        """Set fields and the modification time; nothing when it is gone."""
        with self.lock:
            if name in self._resources:
                self._resources[name].update(values, LastModifiedTime=time.time())

    def delete(self, name: str) -> Resource:
        """Remove and return; raises ServiceError when there is none."""
        with self.lock:
            self.get(name)
            return self._resources.pop(name)

    def discard(self, name: str) -> None:
        """Remove if there."""
        with self.lock:
            self._resources.pop(name, None)

    def all(self) -> list[Resource]:
        """Every resource, oldest first."""
        with self.lock:
            return list(self._resources.values())


def page(
    resources: Iterable[Resource], request: Resource, name_field: str, fields: Sequence[str], list_field: str
) -> Resource:
    """Answer a List* request with these fields of the resources that have them.

    Applies NameContains, StatusEquals, SortBy, SortOrder, MaxResults and NextToken.
    """
    found = [r for r in resources if request.get("NameContains", "") in r[name_field]]
    wanted_status = request.get("StatusEquals")
    status_field = next((f for f in ("EndpointStatus", "TrainingJobStatus") if found and f in found[0]), None)
    if wanted_status and status_field:
        found = [r for r in found if r[status_field] == wanted_status]
    key = name_field if request.get("SortBy") == "Name" else "CreationTime"
    found.sort(key=lambda r: r[key], reverse=request.get("SortOrder", "Descending") == "Descending")
    start = int(request.get("NextToken", 0))
    limit = int(request.get("MaxResults", 10 if "MaxResults" in request else 100))
    answer: Resource = {list_field: [{f: r[f] for f in fields if f in r} for r in found[start : start + limit]]}
    if start + limit < len(found):
        answer["NextToken"] = str(start + limit)
    return answer
