"""Functions stay within a screen and a half; where one is longer, the line above it says why."""

import ast
from pathlib import Path

from tests.unit.test_architecture import OURS, ROOT

LONGEST = 60
REASON = "# long: "


def too_long(path: Path) -> list[str]:
    """Functions without a reason, docstring counted; a reason stands above the function and its decorators."""
    text = path.read_text()
    lines = text.splitlines()
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            length = (node.end_lineno or 0) - node.lineno + 1
            above = lines[first - 2].strip() if first > 1 else ""
            if length > LONGEST and not above.startswith(REASON):
                found.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {length} lines")
    return found


def test_a_long_function_says_why_it_is_one():
    files = [ROOT / "app.py", *(path for folder in sorted(OURS - {"tests"}) for path in (ROOT / folder).rglob("*.py"))]
    assert len(files) > 300
    assert [line for path in files for line in too_long(path)] == []
