"""What the documentation says of the code is what the code is."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[2]


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
