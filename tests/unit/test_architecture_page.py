"""docs/architecture.md names files and what they define: every one of them is there, under that name."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
LINKED = re.findall(r"\[`([^`]+)`\]\(\.\./([^)#]+)\)", PAGE)


@cache
def defined(path):
    """Names of a module's classes, functions and values, and of what its classes define."""
    names = set()

    def note(body, prefix=""):
        for node in body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                names.add(prefix + node.name)
            if isinstance(node, ast.ClassDef):
                note(node.body, f"{prefix}{node.name}.")
            targets = getattr(node, "targets", [getattr(node, "target", None)])
            names.update(prefix + target.id for target in targets if isinstance(target, ast.Name))

    note(ast.parse((ROOT / path).read_text()).body)
    return names


def section(title):
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize(("name", "path"), LINKED)
def test_what_the_page_names_is_where_it_says(name, path):
    """A link whose text is no path names something that the file defines, or for what is no code, something in it."""
    assert (ROOT / path).exists()
    if name.rstrip("/") == path.rstrip("/") or path.endswith(f"/{name}"):
        return
    if path.endswith(".py"):
        assert name in defined(path)
    else:
        assert name in (ROOT / path).read_text()


def test_the_page_begins_with_the_way_of_one_observation_and_of_one_training_run():
    assert re.findall(r"^## (.*)", PAGE, re.M)[:3] == [
        "The way of one observation",
        "The way of one training run",
        "To change X, open Y",
    ]
    for way in ("The way of one observation", "The way of one training run"):
        stations = re.findall(r"^\d+\. .*?(?=^\d+\. |\Z)", section(way), re.M | re.S)
        assert len(stations) >= 9
        assert all(re.search(r"\]\(\.\./", station) for station in stations), "a station without its file"


@pytest.mark.parametrize(
    "what",
    [
        *("P2 threshold", "channel", "metric", "receiver", "source", "stack"),
        *("sampling step", "dashboard widget", "alarm"),
    ],
)
def test_the_table_has_one_place_to_open_first(what):
    rows = [line.split(" | ") for line in section("To change X, open Y").splitlines() if line.startswith("| ")]
    (row,) = [row for row in rows if re.search(rf"\b{what}\b", row[0])]
    assert len(re.findall(r"\]\(\.\./", row[1])) == 1
    assert len(row[2].strip(" |")) > 20, "what else follows from it"
