"""Every command line that a help text or the README shows is one that the command takes."""

import argparse
import importlib
import re
import shlex
from pathlib import Path

import pytest

from cli.main import COMMANDS, _Parser

ROOT = Path(__file__).parents[2]
LINE = re.compile(r"^(?:\$ )?\s*(?:\.venv/bin/)?treeline (?P<command>[a-z]+)(?P<rest>.*)$", re.MULTILINE)
PLACEHOLDERS = {"<incident>": "web-1/2026-01-01T00:00:00.000Z", "INCIDENT": "web-1/2026-01-01T00:00:00.000Z"}


def _parser(name: str) -> argparse.ArgumentParser:
    parser = _Parser(prog=f"treeline {name}", formatter_class=argparse.RawDescriptionHelpFormatter)
    importlib.import_module(COMMANDS[name][0]).register(parser)
    return parser


def _examples(text: str) -> list[tuple[str, list[str]]]:
    """Command and arguments of each line; what follows two spaces, a # or a | is not the command's."""
    found = []
    for match in LINE.finditer(re.sub(r"\\\n\s*", "", text)):
        rest = re.split(r"\s{2,}(?=[^-\s])|\s[#|]", match["rest"])[0]
        for placeholder, value in PLACEHOLDERS.items():
            rest = rest.replace(placeholder, value)
        found.append((match["command"], shlex.split(rest)))
    return found


def _texts(parser: argparse.ArgumentParser) -> list[str]:
    """The epilogs of a parser and of its sub-commands, which are where examples stand."""
    texts = [parser.epilog or ""]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            texts += [text for sub in action.choices.values() for text in _texts(sub)]
    return texts


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_of_a_help_text_parse(name: str):
    parser = _parser(name)
    examples = [example for text in _texts(parser) for example in _examples(text)]

    assert examples, "a help text shows at least one example"
    for command, arguments in examples:
        _parser(command).parse_args(arguments)


def _descriptions(parser: argparse.ArgumentParser) -> list[str]:
    texts = [parser.description or ""]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            texts += [text for sub in action.choices.values() for text in _descriptions(sub)]
    return texts


@pytest.mark.parametrize("name", COMMANDS)
def test_a_help_text_speaks_to_users_not_to_callers_of_a_function(name: str):
    assert [text for text in _descriptions(_parser(name)) if re.search(r"\b(Args|Returns|Raises):", text)] == []


def test_the_command_lines_of_the_documents_parse():
    documents = [
        ROOT / "README.md",
        *sorted((ROOT / "docs").glob("*.md")),
        *sorted((ROOT / "docs/runbooks").glob("*.md")),
    ]
    blocks = [block for path in documents for block in re.findall(r"```.*?```", path.read_text(), re.DOTALL)]
    examples = [example for block in blocks for example in _examples(block)]

    assert len(examples) > 15
    for command, arguments in examples:
        _parser(command).parse_args(arguments)


def test_an_example_with_an_option_that_is_gone_is_found():
    with pytest.raises(Exception, match="only"):
        _parser("demo").parse_args(_examples("  treeline demo --only machine-1-2")[0][1])
