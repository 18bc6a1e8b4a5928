"""What the documentation says of the code is what the code is."""

import importlib.util
import re
from pathlib import Path

import pytest

from bench.budget import BUDGET_US

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", ROOT / "bench" / "README.md", *sorted((ROOT / "docs").glob("*.md")))


def test_the_page_of_states_is_drawn_from_the_tables() -> None:
    spec = importlib.util.spec_from_file_location("states", ROOT / "docs" / "states.py")
    assert spec is not None
    assert spec.loader is not None
    states = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(states)
    assert (ROOT / "docs" / "states.md").read_text(encoding="utf-8") == states.page()


def test_the_readme_names_every_room() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rooms = [path.parent.name for path in (ROOT / "gateway").glob("*/__init__.py")]
    missing = [room for room in rooms if f"`{room}/`" not in readme]
    assert not missing


def test_the_page_of_performance_shows_the_budget() -> None:
    text = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| ([a-z ]+) \| (\d+) \|", text, re.MULTILINE))
    assert {step: float(rows[step]) for step in BUDGET_US} == BUDGET_US


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_says_to_call_or_read_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    assert set(re.findall(r"(?:`|^)make ([a-z-]+)", text, re.MULTILINE)) <= targets
    for module in re.findall(r"python -m (bench[\w.]*)", text):
        assert importlib.util.find_spec(module) is not None, module
    for link in re.findall(r"\]\((?!http)([^)#]+)", text):
        assert (page.parent / link).exists(), link
    for path in re.findall(r"`((?:bench|docs|native|tests)/[\w/.]+\.\w+)`", text):
        assert (ROOT / path).exists(), path
