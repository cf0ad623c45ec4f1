"""Models and endpoint configurations: what hosting is made of. Both are immutable, as on AWS."""

import threading

from emulator.sagemaker.errors import validation
from emulator.sagemaker.store import Action, Resource, Store, arn


class Models:
    """CreateModel, DescribeModel, ListModels, DeleteModel."""

    def __init__(self, lock: threading.RLock) -> None:
        self._models = Store("Model", "model", lock)

    def actions(self) -> dict[str, Action]:
        """The API actions served here."""
        return {
            "CreateModel": self.create,
            **self._models.reading("Models"),
            "DeleteModel": lambda request: self._models.delete(request["ModelName"]) and {},
        }

    def create(self, request: Resource) -> Resource:
        """Keep a model; its data is read when an endpoint starts."""
        name = request["ModelName"]
        if "PrimaryContainer" not in request and not request.get("Containers"):
            raise validation("PrimaryContainer or Containers is required.")
        self._models.create(name, {**request, "ModelArn": arn("model", name)})
        return {"ModelArn": arn("model", name)}

    def image(self, name: str) -> str:
        """The image of a model's container, empty where it names none; raises ServiceError when the model is gone."""
        return str(self._container(name).get("Image", ""))

    def data_url(self, name: str) -> str:
        """Where the artifact of a model is; raises ServiceError when the model is gone or names none."""
        container = self._container(name)
        url = container.get("ModelDataUrl") or container.get("ModelDataSource", {}).get("S3DataSource", {}).get("S3Uri")
        if not url:
            raise validation(f"Model {name} names no model data.")
        return str(url)

    def _container(self, name: str) -> Resource:
        model = self._models.get(name)
        container: Resource = model.get("PrimaryContainer") or model["Containers"][0]
        return container


class EndpointConfigs:
    """CreateEndpointConfig, DescribeEndpointConfig, ListEndpointConfigs, DeleteEndpointConfig."""

    def __init__(self, lock: threading.RLock, models: Models) -> None:
        self._configs = Store("EndpointConfig", "endpoint-config", lock)
        self._models = models

    def actions(self) -> dict[str, Action]:
        """The API actions served here; there is no update."""
        return {
            "CreateEndpointConfig": self.create,
            **self._configs.reading("EndpointConfigs"),
            "DeleteEndpointConfig": lambda request: self._configs.delete(request["EndpointConfigName"]) and {},
        }

    def create(self, request: Resource) -> Resource:
        """Keep a configuration; every model it names must exist."""
        name = request["EndpointConfigName"]
        names = [v["VariantName"] for v in request["ProductionVariants"]]
        if len(set(names)) != len(names):
            raise validation("Variant names must be unique within an endpoint configuration.")
        for variant in request["ProductionVariants"]:
            if "ModelName" in variant:
                self._models.data_url(variant["ModelName"])
        self._configs.create(name, {**request, "EndpointConfigArn": arn("endpoint-config", name)})
        return {"EndpointConfigArn": arn("endpoint-config", name)}

    def capture(self, name: str) -> Resource:
        """What of requests and answers is to be captured; {} for nothing."""
        return dict(self._configs.get(name).get("DataCaptureConfig", {}))

    def variants(self, name: str) -> list[Resource]:
        """The production variants of a configuration; raises ServiceError when it is gone."""
        variants: list[Resource] = self._configs.get(name)["ProductionVariants"]
        return variants
