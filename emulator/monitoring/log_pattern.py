"""CloudWatch Logs filter patterns, the two kinds that our metric filters have. Pure.

A quoted text that the line holds (`"Task timed out"`), and one field of a JSON line (`{ $.level = "ERROR" }`).
"""

import json
import re
from collections.abc import Callable

_TEXT = re.compile(r'"([^"\\]+)"')
_FIELD = re.compile(r'\{ *\$\.(\w+) *= *"([^"\\*]+)" *\}')


class PatternError(ValueError):
    """A filter pattern uses what is not supported here; no metric would be right, so it is said."""


def compile_pattern(pattern: str) -> Callable[[str], bool]:
    """A predicate over log lines.

    Raises:
        PatternError: The pattern is of another kind.
    """
    if text := _TEXT.fullmatch(pattern.strip()):
        return lambda line: text[1] in line
    if field := _FIELD.fullmatch(pattern.strip()):
        return lambda line: _field(line, field[1]) == field[2]
    raise PatternError(f"this filter pattern is not supported here: {pattern}")


def _field(line: str, name: str) -> object:
    """A field of a line that is a JSON object; None where there is none."""
    try:
        return json.loads(line).get(name) if line.startswith("{") else None
    except ValueError:
        return None
