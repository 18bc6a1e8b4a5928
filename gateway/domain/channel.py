"""The channels that may stand in the books: a name and the number that account numbers carry."""

from typing import Final

NUMBERS: Final[dict[str, int]] = {
    "simulator": 1,
    "stripe": 2,
    "wechat": 3,
    "alipay": 4,
    "unionpay": 5,
    "crypto": 6,
    "simulator_b": 91,
}
NAMES: Final[dict[int, str]] = {number: name for name, number in NUMBERS.items()}
