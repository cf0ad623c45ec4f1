"""What our documents point at is there: links between pages, files and folders of this repository, modules to run."""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
# Written by our commands and in no repository; `history` is a folder of the training bucket.
ELSEWHERE = {"runs", "build", "history"}
SOURCES = {".py", ".md", ".yaml", ".toml"}
PLACEHOLDER = re.compile(r"<\w+>|\b[A-Z]+\b(?=[./]|$)")
HERE = {path.name for path in ROOT.iterdir()} - ELSEWHERE


def text_of(page: Path) -> str:
    """The page; of the changelog only what is not released yet, as what was released speaks of the files of its day."""
    text = page.read_text(encoding="utf-8")
    return "\n## ".join(text.split("\n## ")[:2]) if page.name == "CHANGELOG.md" else text


def links(text: str) -> list[str]:
    return re.findall(r"\]\((?!https?:|#)([^)#]+)", text)


def paths(text: str) -> Iterator[str]:
    """What stands in backticks and means a file or a folder of ours; `{a,b}.py` means two."""
    for span in re.findall(r"`([^`\n]+)`", text):
        path = span.split()[0].split(":")[0]
        parts = path.split("/")
        is_source = Path(path).suffix in SOURCES and parts[0] not in ELSEWHERE and re.fullmatch(r"[\w./<>{},-]+", path)
        if (len(parts) > 1 and parts[0] in HERE) or (is_source and path[0] not in "/<"):
            choices = [choice.split(",") for choice in re.split(r"[{}]", path)]
            is_braced = "{" in path
            yield from map("".join, itertools.product(*choices)) if is_braced else [path]


def modules(text: str) -> list[str]:
    return re.findall(r"python -m ((?!pip\b|pytest\b)[\w.]+\w)", text)


def is_there(path: str) -> bool:
    """Whether a path leads somewhere; a bare file name may be anywhere, a placeholder may be anything."""
    pattern = PLACEHOLDER.sub("*", path)
    return next(ROOT.glob(pattern), None) is not None or ("/" not in path and path in _FILES)


_FILES = {path.name for top in HERE if not top.startswith(".") for path in (ROOT / top).rglob("*.py")}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_points_at_is_there(page: Path):
    text = text_of(page)
    gone = [link for link in links(text) if not (page.parent / link).exists()]
    gone += [path for path in paths(text) if not is_there(path)]
    gone += [name for name in modules(text) if not is_there(f"{name.replace('.', '/')}*")]
    assert gone == []


def test_what_counts_as_a_path():
    text = "`cli/{mute,incident}.py`, `runs/demo/report.html`, `pages/day`, `local/gone.py`, `docs/`, `p2`, `x.py: f`"
    assert list(paths(text)) == ["cli/mute.py", "cli/incident.py", "local/gone.py", "docs/", "x.py"]
    assert not is_there("local/gone.py")
    assert is_there("config/<stage>.yaml")
    assert modules("`python -m report.channels`, python -m pip install x") == ["report.channels"]
