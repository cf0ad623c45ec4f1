"""Endpoints: their states, their variants with weights, and the containers that score behind them."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from emulator.loopback.clients import ClientOf
from emulator.sagemaker.containers import Container, serving
from emulator.sagemaker.errors import ServiceError, validation
from emulator.sagemaker.faults import HostFaults, model_error
from emulator.sagemaker.hosting_capture import Captures
from emulator.sagemaker.hosting_scaling import ScalableTargets
from emulator.sagemaker.models import EndpointConfigs, Models
from emulator.sagemaker.s3_urls import bucket_and_key
from emulator.sagemaker.store import Action, Announce, Resource, Store, arn
from treeline.forest.invocation import MAX_BODY_BYTES

_SERVING = ("InService", "Updating", "SystemUpdating", "RollingBack")  # an endpoint being updated goes on serving


@dataclass(slots=True)
class Variant:
    """A loaded variant; `credit` carries the smooth weighted round robin, so traffic is shared without chance."""

    name: str
    container: Container
    weight: float
    instance_count: int
    credit: float = 0.0

    def summary(self) -> Resource:
        """As in DescribeEndpoint."""
        return {
            "VariantName": self.name,
            "CurrentWeight": self.weight,
            "DesiredWeight": self.weight,
            "CurrentInstanceCount": self.instance_count,
            "DesiredInstanceCount": self.instance_count,
        }


@dataclass(frozen=True, slots=True)
class Invoked:
    """An answer of InvokeEndpoint."""

    body: bytes
    content_type: str
    variant: str


@dataclass(slots=True)
class _Hosted:
    variants: list[Variant] = field(default_factory=list)
    capture: Resource = field(default_factory=dict)


@dataclass(slots=True)
class Endpoints:
    """The endpoint actions and InvokeEndpoint."""

    store: Store
    configs: EndpointConfigs
    models: Models
    clients: ClientOf
    announce: Announce  # puts a state change on the event bus
    delays: Mapping[str, float]  # "creating_s", "updating_s", "deleting_s": least time in a state
    faults: HostFaults
    captures: Captures
    scaling: ScalableTargets
    invocations: Counter[str] = field(init=False, default_factory=Counter)  # by endpoint/variant
    _hosted: dict[str, _Hosted] = field(init=False, default_factory=dict)
    # (image, instance type, data URL) -> (ETag, container).
    _loaded: dict[tuple[str, str, str], tuple[str, Container]] = field(init=False, default_factory=dict)

    def actions(self) -> dict[str, Action]:
        """The API actions served here."""
        return {
            **self.store.reading("Endpoints", "LastModifiedTime", "EndpointStatus"),
            "CreateEndpoint": self.create,
            "DescribeEndpoint": self.describe,
            "UpdateEndpoint": self.update,
            "UpdateEndpointWeightsAndCapacities": self.update_weights,
            "DeleteEndpoint": self.delete,
        }

    def create(self, request: Resource) -> Resource:
        """Start an endpoint; it is Creating until its models are loaded."""
        name, config = request["EndpointName"], request["EndpointConfigName"]
        self.configs.variants(config)
        endpoint = {"EndpointName": name, "EndpointArn": arn("endpoint", name), "EndpointConfigName": config}
        self.store.create(name, {**endpoint, "EndpointStatus": "Creating"})
        self._hosted[name] = _Hosted()
        self._transition(
            name, "Creating", "creating_s", lambda: self._load(config), "Failed", EndpointConfigName=config
        )
        return {"EndpointArn": endpoint["EndpointArn"]}

    def describe(self, request: Resource) -> Resource:
        """The endpoint with its state and variants."""
        endpoint = dict(self.store.get(request["EndpointName"]))
        endpoint["ProductionVariants"] = [v.summary() for v in self._hosted[request["EndpointName"]].variants]
        return endpoint

    def update(self, request: Resource) -> Resource:
        """Move to another configuration; the old variants serve until the new ones are loaded."""
        name, config = request["EndpointName"], request["EndpointConfigName"]
        endpoint = self._idle(name)
        self.configs.variants(config)
        old = {v.name: v.weight for v in self._hosted[name].variants}
        wanted = {v["VariantName"] for v in self.configs.variants(config)}
        scaled = sorted(v for v in old if v not in wanted and self.scaling.is_scaled(name, v))
        if scaled:
            raise validation(
                f'The variant(s) "{", ".join(scaled)}" must be deregistered as scalable target(s) with AWS Auto '
                "Scaling before they can be removed."
            )

        def load() -> list[Variant]:
            variants = self._load(config)
            if request.get("RetainAllVariantProperties"):
                for variant in variants:
                    variant.weight = old.get(variant.name, variant.weight)
            return variants

        self._transition(name, "Updating", "updating_s", load, "InService", EndpointConfigName=config)
        return {"EndpointArn": endpoint["EndpointArn"]}

    def update_weights(self, request: Resource) -> Resource:
        """Change the weights and counts of variants that are there."""
        name = request["EndpointName"]
        endpoint = self._idle(name)
        wanted = {v["VariantName"]: v for v in request["DesiredWeightsAndCapacities"]}
        current = self._hosted[name].variants
        unknown = sorted(set(wanted) - {v.name for v in current})
        if unknown:
            raise validation(f'Variant(s) "{", ".join(unknown)}" do not exist in the endpoint configuration.')

        def reweighed() -> list[Variant]:
            return [
                replace(
                    v,
                    weight=float(wanted.get(v.name, {}).get("DesiredWeight", v.weight)),
                    instance_count=int(wanted.get(v.name, {}).get("DesiredInstanceCount", v.instance_count)),
                    credit=0.0,
                )
                for v in current
            ]

        self._transition(name, "Updating", "updating_s", reweighed, "InService")
        return {"EndpointArn": endpoint["EndpointArn"]}

    def delete(self, request: Resource) -> Resource:
        """Stop serving at once; the name is free after the delay."""
        name = request["EndpointName"]
        self.store.get(name)
        self._set_status(name, "Deleting")

        def finish() -> None:
            time.sleep(self.delays["deleting_s"])
            self.store.discard(name)
            self._hosted.pop(name, None)

        threading.Thread(target=finish, daemon=True, name=f"delete-{name}").start()
        return {}

    def invoke(self, name: str, body: bytes, content_type: str, accept: str, target_variant: str | None) -> Invoked:
        """Score `body` with a variant chosen by weight, or with the one named.

        Raises:
            ServiceError: As InvokeEndpoint answers: unknown or not serving, fault, or the container's refusal.
        """
        if len(body) > MAX_BODY_BYTES:
            raise ServiceError("413", f"HTTP content length exceeded {MAX_BODY_BYTES} bytes.", 413)
        variant = self._choose(name, target_variant)
        self.invocations[f"{name}/{variant.name}"] += 1
        instead = self.faults.meet(name, variant.name)
        if instead is not None:
            return Invoked(instead, "application/json", variant.name)
        status, answered, content = variant.container.answer(content_type, accept, body)
        if status != 200:
            raise model_error(variant.name, status, content.decode(errors="replace")[:1000])
        self.captures.note(self._hosted[name].capture, name, variant.name, body, content_type, content)
        offset = self.faults.offset(name, variant.name)
        if offset:
            content = shifted(content, offset)
        return Invoked(content, answered, variant.name)

    def _choose(self, name: str, target: str | None) -> Variant:
        with self.store.lock:
            try:
                endpoint = self.store.get(name)
            except ServiceError:
                endpoint = {"EndpointStatus": "absent"}
            variants = self._hosted[name].variants if name in self._hosted else []
            if endpoint["EndpointStatus"] not in _SERVING or not variants:
                account = arn("endpoint", name).split(":")[4]
                raise ServiceError("ValidationError", f"Endpoint {name} of account {account} not found.")
            if target is not None:
                for variant in variants:
                    if variant.name == target:
                        return variant
                raise ServiceError("ValidationError", f"Variant {target} not found for Request")
            total = sum(v.weight for v in variants)
            if total <= 0:
                raise ServiceError("ValidationError", f"No variant of endpoint {name} has a weight above zero.")
            for variant in variants:
                variant.credit += variant.weight
            chosen = max(variants, key=lambda v: v.credit)
            chosen.credit -= total
            return chosen

    def _idle(self, name: str) -> Resource:
        endpoint = self.store.get(name)
        status = endpoint["EndpointStatus"]
        if status != "InService":
            what = "failed" if status == "Failed" else "in-progress"
            raise validation(f'Cannot update {what} endpoint "{endpoint["EndpointArn"]}".')
        return endpoint

    def _transition(
        self, name: str, status: str, delay: str, load: Callable[[], list[Variant]], on_failure: str, **values: Any
    ) -> None:
        self._set_status(name, status)

        def run() -> None:
            began = time.monotonic()
            try:
                variants = load()
            except Exception as error:  # noqa: BLE001 -- whatever went wrong is the endpoint's failure reason
                self._set_status(name, on_failure, FailureReason=f"{type(error).__name__}: {error}"[:1024])
                return
            time.sleep(max(0.0, self.delays[delay] - (time.monotonic() - began)))
            with self.store.lock:
                if name not in self._hosted or self.store.get(name)["EndpointStatus"] != status:
                    return  # deleted meanwhile
                self._hosted[name].variants = variants
                if "EndpointConfigName" in values:
                    self._hosted[name].capture = self.configs.capture(values["EndpointConfigName"])
            self._set_status(name, "InService", **values)

        threading.Thread(target=run, daemon=True, name=f"endpoint-{name}").start()

    def _set_status(self, name: str, status: str, **values: Any) -> None:
        self.store.change(name, EndpointStatus=status, **values)
        endpoint = dict(self.store.get(name))
        self.announce("SageMaker Endpoint State Change", endpoint["EndpointArn"], endpoint)

    def _load(self, config: str) -> list[Variant]:
        return [
            Variant(
                name=variant["VariantName"],
                container=self._container(variant),
                weight=float(variant.get("InitialVariantWeight", 1.0)),
                instance_count=int(variant.get("InitialInstanceCount", 1)),
            )
            for variant in self.configs.variants(config)
        ]

    def _container(self, variant: Resource) -> Container:
        image, instance_type = self.models.image(variant["ModelName"]), variant.get("InstanceType", "")
        url = self.models.data_url(variant["ModelName"])
        bucket, key = bucket_and_key(url)
        answer = self.clients("s3").get_object(Bucket=bucket, Key=key)
        known = self._loaded.get((image, instance_type, url))
        if known is None or known[0] != answer["ETag"]:
            known = answer["ETag"], serving(image, instance_type, answer["Body"].read())
            self._loaded[image, instance_type, url] = known
        return known[1]


def shifted(content: bytes, offset: float) -> bytes:
    """A JSON answer with every score `offset` higher."""
    scores = json.loads(content)["scores"]
    return json.dumps({"scores": [{"score": entry["score"] + offset} for entry in scores]}).encode()
