"""Every file of ours, read and parsed once, for the tests of the house law."""

import ast
import functools
import gc
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
Function = ast.FunctionDef | ast.AsyncFunctionDef


class Source(NamedTuple):
    """One Python file: its path from the root of the checkout, its text, and its syntax tree."""

    path: PurePosixPath
    text: str
    tree: ast.Module

    @property
    def module(self) -> str:
        """The name under which the file is imported."""
        return ".".join(self.path.with_suffix("").parts).removesuffix(".__init__")

    @property
    def room(self) -> str:
        """The part that stands on a floor: `domain`, `ledger`, `native`, or `cli` for `cli.py`."""
        parts = self.module.split(".")
        return parts[1] if parts[0] == "gateway" and len(parts) > 1 else parts[0]

    def at(self, node: ast.AST) -> str:
        """Name the place of an offence."""
        return f"{self.path}:{getattr(node, 'lineno', 1)}"

    def find(self, *kinds: type[ast.AST]) -> Iterator[Any]:
        """Give every node of these kinds."""
        return (node for node in walked(self.tree) if isinstance(node, kinds))


@functools.cache
def walked(tree: ast.AST) -> tuple[ast.AST, ...]:
    """Give every node of a tree; each file is walked through once for all laws."""
    return tuple(ast.walk(tree))


def parsed(path: str, text: str) -> Source:
    """Parse a text as if it were the file at this path."""
    return Source(PurePosixPath(path), text, ast.parse(text, path))


@functools.cache
def sources(*folders: str) -> tuple[Source, ...]:
    """Parse every Python file under these folders of the checkout."""
    files = sorted(file for folder in folders for file in (ROOT / folder).rglob("*.py"))
    found = tuple(
        parsed(file.relative_to(ROOT).as_posix(), file.read_text(encoding="utf-8"))
        for file in files
    )
    gc.freeze()  # half a million nodes that stay
    return found


def shipped() -> tuple[Source, ...]:
    """Give the files that are installed: the gateway and its native part."""
    return sources("gateway", "native")


def imports(source: Source) -> Iterator[tuple[str, ast.stmt]]:
    """Give the dotted name of everything that a file imports, wherever the import stands."""
    for node in source.find(ast.Import, ast.ImportFrom):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        else:
            package = "." * node.level + (node.module or "")
            yield from ((f"{package}.{alias.name}", node) for alias in node.names)


def dotted(node: ast.expr) -> str:
    """Write `a.b.c` as it stands in the source; empty for anything but names and attributes."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (before := dotted(node.value)):
        return f"{before}.{node.attr}"
    return ""
