"""What is handed out is whole, and the versions of Python are the same wherever they stand."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOLD = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
NAMED = "Programming Language :: Python :: 3."
VERSIONS = [
    each.rpartition(" ")[2] for each in TOLD["project"]["classifiers"] if each.startswith(NAMED)
]


def test_what_is_checked_is_the_oldest_version_that_may_install_it() -> None:
    oldest = VERSIONS[0]
    assert TOLD["project"]["requires-python"] == f">={oldest}"
    assert TOLD["tool"]["mypy"]["python_version"] == oldest
    assert TOLD["tool"]["ruff"]["target-version"] == f"py{oldest.replace('.', '')}"
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert f"sys.version_info < ({oldest.replace('.', ', ')})" in makefile
    assert f"Python {oldest} or newer is needed" in makefile


def test_no_version_in_between_is_left_out() -> None:
    minors = [int(each.partition(".")[2]) for each in VERSIONS]
    assert minors == list(range(minors[0], minors[-1] + 1))


def test_the_readme_names_the_oldest_and_the_newest() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"Python ≥ {VERSIONS[0]} (tested up to {VERSIONS[-1]}" in readme


def test_the_image_is_made_of_one_of_them() -> None:
    bases = re.findall(r"^FROM python:([\d.]+)-", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert len(bases) == 2
    assert set(bases) < set(VERSIONS)
    assert len(set(bases)) == 1


def test_no_file_that_is_read_at_work_is_left_out_of_the_wheel() -> None:
    gateway = ROOT / "gateway"
    found = [path for path in gateway.rglob("*") if path.parent.name != "__pycache__"]
    files = {path for path in found if path.is_file()}
    globs = TOLD["tool"]["setuptools"]["package-data"]["gateway"]
    packed = {path for glob in globs for path in gateway.glob(glob)}
    assert packed == {path for path in files if path.suffix != ".py"}
