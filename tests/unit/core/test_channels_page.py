"""docs/channels.md is what the registry says."""

from report.channels import PAGE, page
from treeline.core.channels import registry


def test_the_page_is_the_registrys():
    assert PAGE.read_text(encoding="utf-8") == page(), "run `make channels`"


def test_every_channel_says_what_it_is():
    rows = [line for line in page().splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == [channel.name for channel in registry.every_channel()]
    assert all(cell.strip() for row in rows for cell in row.strip("|").split("|"))
