"""docs/settings.md is what the declarations say, and every key says what it means."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from stacks.config.reference import PAGE, keys, page
from stacks.config.stage import CONFIG_FOLDER, StageConfig

KEYS = list(keys(StageConfig))


def test_the_page_is_what_the_declarations_say():
    assert PAGE.read_text(encoding="utf-8") == page(), "run: make settings"


def test_every_key_says_in_a_sentence_what_it_means():
    wrong = [key.path for key in KEYS if not key.meaning.endswith(".") or not key.meaning.strip()]

    assert len(KEYS) > 120
    assert wrong == []


def paths(raw: Mapping[str, Any], at: str = "") -> list[str]:
    below = [(f"{at}{name}", value) for name, value in raw.items()]
    return [p for name, value in below for p in (paths(value, f"{name}.") if isinstance(value, dict) else [name])]


@pytest.mark.parametrize("path", sorted(CONFIG_FOLDER.glob("*.yaml")), ids=lambda p: p.stem)
def test_every_key_of_the_files_that_we_ship_stands_on_the_page(path: Path):
    assert set(paths(yaml.safe_load(path.read_text(encoding="utf-8")))) <= {key.path for key in KEYS}


def test_a_key_of_the_page_has_the_default_of_its_place():
    by_path = {key.path: key for key in KEYS}

    assert by_path["functions.detect.memory_mb"].default == "1024"
    assert by_path["functions.dispatch.memory_mb"].default == "256"
    assert by_path["detection.late_window_s"].range == "[0, 86400]"
    assert by_path["records.max_age_s"].type == "integer or null"
    assert by_path["detection.policy.needed"].meaning.startswith("Exceedances")
