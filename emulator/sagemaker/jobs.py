"""What training and processing jobs share: each is a process of this machine, listed and stopped by its job's name."""

import subprocess
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from emulator.loopback.clients import ClientOf
from emulator.sagemaker.errors import ServiceError, validation
from emulator.sagemaker.store import Action, Announce, Resource, Store, arn


@dataclass(slots=True)
class Jobs(ABC):
    """Create, describe, list and stop jobs of one kind."""

    noun: ClassVar[str]  # as in actions and fields: "Training" for CreateTrainingJob

    lock: threading.RLock  # shared by the service's stores
    clients: ClientOf
    endpoint_url: str  # where a job's process finds S3
    announce: Announce  # puts a state change on the event bus
    store: Store = field(init=False)
    _processes: dict[str, subprocess.Popen[str]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Its jobs are kept from here on."""
        self.store = Store(f"{self.noun}Job", f"{self.noun.lower()}-job", self.lock)

    def actions(self) -> dict[str, Action]:
        """The API actions served here."""
        name = f"{self.noun}Job"
        fields = ("LastModifiedTime", f"{name}Status", f"{self.noun}EndTime")
        return {
            **self.store.reading(f"{name}Summaries", *fields),
            f"Create{name}": self.create,
            f"Stop{name}": self.stop,
        }

    @abstractmethod
    def create(self, request: Resource) -> Resource:
        """Start a job; its failure shows in its state, as on AWS."""

    def stop(self, request: Resource) -> Resource:
        """Stop a running job; it ends as Stopped, without artifacts."""
        name = request[f"{self.noun}JobName"]
        if self.status(name) != "InProgress":
            kind = self.noun.lower()
            raise validation(f"The request was rejected because the {kind} job is not in progress.")
        self.to_stopping(name)
        if name in self._processes:
            self._processes[name].kill()
        return {}

    def end(self) -> None:
        """Kill the processes of running jobs."""
        for process in list(self._processes.values()):
            process.kill()

    def status(self, name: str) -> str:
        """The state of a job; raises ServiceError where there is none."""
        return str(self.store.get(name)[f"{self.noun}JobStatus"])

    @abstractmethod
    def to_stopping(self, name: str) -> None:
        """Note that a job has been asked to stop."""

    @abstractmethod
    def run(self, name: str, job: Resource) -> None:
        """Do a job's work from beginning to end, in a thread of its own."""

    def start(self, request: Resource, **fields: Any) -> Resource:
        """Keep a new job and start its work; raises ServiceError where its name is taken."""
        name, job_arn = request[f"{self.noun}JobName"], f"{self.noun}JobArn"
        fields = {job_arn: arn(self.store.kind, name), f"{self.noun}JobStatus": "InProgress", **fields}
        in_use = ServiceError(
            "ResourceInUse", f"{self.noun} job names must be unique within an AWS account and Region."
        )
        job = self.store.create(name, {**request, **fields}, in_use)
        threading.Thread(target=self.run, args=(name, job), daemon=True, name=f"{self.store.kind}-{name}").start()
        return {job_arn: job[job_arn]}

    def process(
        self, name: str, command: Sequence[str], said: str | None = None, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a job's command to its end; `stop` and `end` may kill it."""
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)  # noqa: S603 -- the job's own
        self._processes[name] = process
        out, err = process.communicate(said)
        self._processes.pop(name, None)
        return subprocess.CompletedProcess(command, process.returncode, out, err)
