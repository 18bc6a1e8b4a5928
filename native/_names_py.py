"""Looks for names that JSON gives twice, in plain Python: the specification of `_names_c`."""

import re
from typing import Final

# Beyond these it is left to a reader with more room.
DEPTH_MAX: Final = 8
NAMES_MAX: Final = 64

_TOKEN: Final = re.compile(rb'"((?:[^"\\]|\\.)*)("?)|[{}\[\],]', re.DOTALL)


def once(text: bytes) -> bool:
    """Tell whether in every object of well-formed JSON each name surely stands once.

    False means to look closer: at names that are equal, or written with escapes, or are very many.
    """
    open_ones: list[set[bytes] | None] = []
    is_name, names_count = False, 0
    for token in _TOKEN.finditer(text):
        match token[0][:1]:
            case b"{" | b"[" as opens:
                open_ones.append(set() if opens == b"{" else None)
                is_name = opens == b"{"
                if len(open_ones) > DEPTH_MAX:
                    return False
            case b"}" | b"]":
                if not open_ones:
                    return False
                names_count -= len(open_ones.pop() or ())
                is_name = False
            case b",":
                is_name = bool(open_ones) and open_ones[-1] is not None
            case _:
                if not token[2]:
                    return False
                if not is_name:
                    continue
                names, is_name, name = open_ones[-1], False, token[1]
                assert names is not None, "a name stands in an object"
                if b"\\" in name or name in names or names_count == NAMES_MAX:
                    return False
                names.add(name)
                names_count += 1
    return True
