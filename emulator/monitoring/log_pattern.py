"""CloudWatch Logs filter patterns, as far as metric filters here need them. Pure.

Supported: the empty pattern, terms (`ERROR "connection lost" -debug ?a ?b`) and JSON selectors joined by && or ||
(`{ $.level = "ERROR" && $.count > 3 }`, with * at the ends of a string).
"""

import json
import re
from collections.abc import Callable
from typing import Any

_TERM = re.compile(r'([-?]?)("(?:[^"\\]|\\.)*"|\S+)')
_CONDITION = re.compile(r'^\s*(\$[\w.\[\]]*)\s*(!=|>=|<=|=|>|<)\s*("(?:[^"\\]|\\.)*"|\S+)\s*$')


class PatternError(ValueError):
    """A filter pattern uses what is not supported here; no metric would be right, so it is said."""


def compile_pattern(pattern: str) -> Callable[[str], bool]:
    """A predicate over log lines.

    Raises:
        PatternError: The pattern uses something outside the supported part.
    """
    text = pattern.strip()
    if not text:
        return lambda line: True
    if text.startswith("{"):
        return _json_predicate(text.strip("{} "))
    if text.startswith("["):
        raise PatternError(f"space-delimited filter patterns are not supported here: {pattern}")
    return _term_predicate(text)


def _term_predicate(text: str) -> Callable[[str], bool]:
    required, excluded, optional = list[str](), list[str](), list[str]()
    for sign, term in _TERM.findall(text):
        {"": required, "-": excluded, "?": optional}[sign].append(term.strip('"'))

    def matches(line: str) -> bool:
        return (
            all(term in line for term in required)
            and not any(term in line for term in excluded)
            and (not optional or any(term in line for term in optional))
        )

    return matches


def _json_predicate(text: str) -> Callable[[str], bool]:
    if "&&" in text and "||" in text:
        raise PatternError(f"a filter pattern with both && and || is not supported here: {text}")
    joiner = any if "||" in text else all
    conditions = [_condition(part.strip("() ")) for part in re.split(r"&&|\|\|", text)]

    def matches(line: str) -> bool:
        if not line.startswith("{"):
            return False
        try:
            document = json.loads(line)
        except ValueError:
            return False
        return joiner(condition(document) for condition in conditions)

    return matches


def _condition(text: str) -> Callable[[Any], bool]:
    parts = _CONDITION.match(text)
    if parts is None:
        raise PatternError(f"not a supported condition of a filter pattern: {text}")
    path, operator, literal = parts.groups()

    def holds(document: Any) -> bool:
        value = select(document, path)
        if literal.startswith('"') or operator in ("=", "!="):
            expected = literal.strip('"')
            shown = str(value).lower() if isinstance(value, bool) else str(value)
            regex = ".*".join(re.escape(part) for part in expected.split("*"))
            number = _number(expected)
            same_number = number is not None and _number(value) == number
            equal = value is not None and (same_number or re.fullmatch(regex, shown) is not None)
            return equal if operator == "=" else not equal
        left, right = _number(value), _number(literal)
        if left is None or right is None:
            return False
        return {">": left > right, "<": left < right, ">=": left >= right, "<=": left <= right}[operator]

    return holds


def _number(value: Any) -> float | None:
    try:
        return None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None


def select(document: Any, path: str) -> Any:
    """The value at a selector such as `$.a.b`; None when there is none."""
    for name in path.removeprefix("$").strip(".").split("."):
        if not name:
            continue
        if not isinstance(document, dict) or name not in document:
            return None
        document = document[name]
    return document
