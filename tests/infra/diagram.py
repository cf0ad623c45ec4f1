"""The picture in docs/architecture.md, drawn from the templates: `make diagram`, or python -m tests.infra.diagram."""

import re
import sys
import tempfile
from pathlib import Path

from stacks.constructs.function_asset import ROOT
from stacks.synthesize import synthesize
from tests.infra.permissions import Templates, Use
from tests.infra.templates import Stage
from treeline.settings import outputs

PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- drawn: begin -->", "<!-- drawn: end -->"
_SHAPES = {
    "AWS::Lambda::Function": ("([", "])"),
    "AWS::DynamoDB::GlobalTable": ("[(", ")]"),
    "AWS::S3::Bucket": ("[(", ")]"),
    "AWS::SQS::Queue": ("[[", "]]"),
    "AWS::SNS::Topic": ("{{", "}}"),
    "AWS::Kinesis::Stream": ("[[", "]]"),
    "AWS::StepFunctions::StateMachine": ("[/", "/]"),
    "AWS::SageMaker::Pipeline": ("[/", "/]"),
}
_WRITES = ("Put", "Update", "Delete", "BatchWrite", "Send", "Publish", "Invoke", "Start")
_NOT_DRAWN = ("logs:", "kms:", "iam:", "sqs:Delete", "sqs:Change", "sqs:GetQueue")


def mermaid(stage: Stage) -> str:
    """A flow chart: what each stack holds, and who reads and writes what."""
    templates = Templates(stage)
    nodes: dict[str, tuple[str, str]] = {}
    for part in outputs.PARTS:
        for id_, resource in stage.template(part)["Resources"].items():
            if resource["Type"] in _SHAPES:
                name = f"{part}/{re.sub(r'[0-9A-F]{8}$', '', id_)}"
                nodes[name] = (part, resource["Type"])
    edges = sorted({_edge(use, nodes) for use in templates.allowed() | templates.implied()} - {None})
    lines = ["```mermaid", "flowchart LR"]
    for part in outputs.PARTS:
        inside = [(name, kind) for name, (where, kind) in nodes.items() if where == part]
        if inside:
            lines.append(f"  subgraph {part}")
            for name, kind in sorted(inside):
                left, right = _SHAPES[kind]
                label = name.split("/")[1].removesuffix("Function")
                lines.append(f'    {_id(name)}{left}"{label}"{right}')
            lines.append("  end")
    lines += [f"  {_id(source)} --> {_id(target)}" for source, target in edges]  # type: ignore[misc]
    return "\n".join([*lines, "```"])


def _edge(use: Use, nodes: dict[str, tuple[str, str]]) -> tuple[str, str] | None:
    """An arrow in the direction data go."""
    resource = re.sub(r"^(\w+/\w+)/.*", r"\1", use.resource)
    if use.action.startswith(_NOT_DRAWN) or use.caller not in nodes or resource not in nodes:
        return None
    verb = use.action.split(":")[1]
    return (use.caller, resource) if verb.startswith(_WRITES) else (resource, use.caller)


def _id(name: str) -> str:
    return name.replace("/", "_")


def drawn(text: str, chart: str) -> str:
    """The page with the chart in its place."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{chart}\n{END}{tail}"


def main() -> int:
    """Write the page anew."""
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage("prod", synthesize(Path(folder), "prod", asset_platform="host"))
        PAGE.write_text(drawn(PAGE.read_text(encoding="utf-8"), mermaid(stage)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
