"""The channel of docs/channels.md keeps the contract, exactly as it stands there."""

import re
import sys
from pathlib import Path
from types import ModuleType

PAGE = Path(__file__).parents[2] / "docs" / "channels.md"
BLOCKS = re.findall(
    r"^```python\n(# (\w+)\.py\n.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE
)
CODE = {name: text for text, name in BLOCKS}

giftcard = ModuleType("giftcard")
sys.modules["giftcard"] = giftcard
exec(compile(CODE["giftcard"], "docs/channels.md", "exec"), giftcard.__dict__)
# The page's own test, with its fixture, becomes a test of this module.
exec(compile(CODE["test_giftcard"], "docs/channels.md", "exec"))


def test_the_page_names_every_channel() -> None:
    from gateway.channels.kinds import KINDS

    missing = [name for name in KINDS if f"| `{name}` |" not in PAGE.read_text()]
    assert not missing
