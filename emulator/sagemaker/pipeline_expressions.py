"""The expressions of a pipeline definition: references, joins, values out of property files."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_PATH = re.compile(r"\.?([A-Za-z0-9_-]+)|\['([^']+)'\]|\[(\d+)\]")
Steps = Mapping[str, Mapping[str, Any]]
ReadProperty = Callable[[str, str], bytes]  # step name, property file's name -> its content


class ExpressionError(ValueError):
    """A definition refers to what is not there."""


@dataclass(frozen=True, slots=True)
class Expressions:
    """Evaluates the values of one execution."""

    parameters: Mapping[str, Any]  # pipeline parameters by name
    execution: Mapping[str, Any]  # `Execution.*` variables by name
    steps: Steps  # properties of the steps done so far, by step name
    read_property: ReadProperty

    def value(self, expression: Any) -> Any:
        """`expression` with every reference in it resolved; raises ExpressionError."""
        if isinstance(expression, list):
            return [self.value(item) for item in expression]
        if not isinstance(expression, Mapping):
            return expression
        if set(expression) == {"Get"}:
            return self._get(expression["Get"])
        if set(expression) == {"Std:Join"}:
            join = expression["Std:Join"]
            return str(join["On"]).join(_text(self.value(part)) for part in join["Values"])
        if set(expression) == {"Std:JsonGet"}:
            return self._json_get(expression["Std:JsonGet"])
        return {key: self.value(item) for key, item in expression.items()}

    def _get(self, reference: str) -> Any:
        kind, _, rest = reference.partition(".")
        match kind:
            case "Parameters":
                return _follow(self.parameters, f".{rest}", reference)
            case "Execution":
                return _follow(self.execution, f".{rest}", reference)
            case "Steps":
                return _follow(self.steps, f".{rest}", reference)
        raise ExpressionError(f"{reference}: a reference begins with Parameters, Execution or Steps")

    def _json_get(self, arguments: Mapping[str, Any]) -> Any:
        match = re.fullmatch(r"Steps\.([^.]+)\.PropertyFiles\.(.+)", arguments["PropertyFile"]["Get"])
        if match is None:
            raise ExpressionError(f"not a property file: {arguments['PropertyFile']}")
        content = json.loads(self.read_property(match[1], match[2]))
        return _follow(content, f".{arguments['Path']}", str(arguments["Path"]))


def referred_steps(value: Any) -> Iterator[str]:
    """Names of the steps that `value` refers to."""
    if isinstance(value, list):
        for item in value:
            yield from referred_steps(item)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if key == "Get" and isinstance(item, str) and item.startswith("Steps."):
                yield item.split(".")[1]
            else:
                yield from referred_steps(item)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _follow(value: Any, path: str, reference: str) -> Any:
    position = 0
    while position < len(path):
        match = _PATH.match(path, position)
        if match is None:
            raise ExpressionError(f"{reference}: cannot be read at {path[position:]!r}")
        key: str | int = int(match[3]) if match[3] is not None else match[1] or match[2]
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            raise ExpressionError(f"{reference}: there is no {key!r}") from None
        position = match.end()
    return value
