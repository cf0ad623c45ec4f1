"""Reading synthesized templates: resources by type, and what a policy allows."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from treeline.settings.outputs import PARTS

Resource = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Stage:
    """One synthesized stage; `parts` are its stacks."""

    name: str
    folder: Path
    parts: tuple[str, ...] = PARTS

    def template(self, part: str) -> dict[str, Any]:
        """The template of one part."""
        return json.loads(self.template_path(part).read_text(encoding="utf-8"))

    def template_path(self, part: str) -> Path:
        """Where the template of one part lies."""
        return self.folder / f"Treeline-{self.name}-{part}.template.json"

    def resources(self, kind: str) -> dict[str, Resource]:
        """Properties by `part/logical id` of every resource of a CloudFormation type."""
        return {
            f"{part}/{id_}": resource.get("Properties", {})
            for part in self.parts
            for id_, resource in self.template(part)["Resources"].items()
            if resource["Type"] == kind
        }

    def one(self, kind: str, path: str) -> Resource:
        """Properties of the resource of a type at `part/construct ids joined`, whatever CDK's hash behind it."""
        (found,) = [p for key, p in self.resources(kind).items() if re.fullmatch(f"{path}[0-9A-F]{{8}}", key)]
        return found

    def function(self, name: str) -> Resource:
        """Properties of the function whose handler is `lambdas.<name>`."""
        (found,) = [
            p
            for p in self.resources("AWS::Lambda::Function").values()
            if p["Handler"] == f"lambdas.{name}.handler.handler"
        ]
        return found

    def asset(self, name: str) -> Path:
        """The folder that becomes the zip of a function."""
        return self.folder / f"asset.{self.function(name)['Code']['S3Key'].removesuffix('.zip')}"

    def statements(self) -> Iterator[tuple[str, Resource]]:
        """Every statement of every role's policy, with the `part/logical id` of the policy."""
        for key, policy in self.resources("AWS::IAM::Policy").items():
            for statement in policy["PolicyDocument"]["Statement"]:
                yield key, statement


def listed(value: Any) -> list[Any]:
    """A policy's `x` and `[x]` mean the same."""
    return value if isinstance(value, list) else [value]


def told(value: Any) -> str:
    """A reference as text, to look for a name in it."""
    return json.dumps(value, sort_keys=True)
