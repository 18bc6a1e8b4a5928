"""Every module can be the first one through the door: it imports alone, without a warning."""

import json
import subprocess
import sys

from source_tree import ROOT, imports, shipped

# Starting an interpreter and loading aiohttp for every module would take a minute.  So one fresh
# process loads what is not ours and forks for each module; none of ours is loaded before that fork.
DOORMAN = """
import importlib, json, os, sys

theirs, ours = json.load(sys.stdin)
for name in theirs:
    importlib.import_module(name)
loaded = [name for name in sys.modules if name.partition(".")[0] in ("gateway", "native")]
assert not loaded, f"these were loaded before their turn: {loaded}"
for name in ours:
    child = os.fork()
    if child == 0:
        try:
            importlib.import_module(name)
        except BaseException as error:
            os.write(1, f"{name}: {type(error).__name__}: {error}\\n".encode())
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if status:
        print(f"{name}: died ({status})", flush=True)
"""


def test_every_module_imports_alone_without_a_warning() -> None:
    ours = [source.module for source in shipped()]
    names = {name for source in shipped() for name, _ in imports(source)}
    theirs = sorted({name.partition(".")[0] for name in names} - {"gateway", "native"})
    doorman = subprocess.run(
        [sys.executable, "-W", "error", "-c", DOORMAN],
        input=json.dumps([theirs, ours]),
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
        check=False,
    )
    assert (doorman.returncode, doorman.stdout, doorman.stderr) == (0, "", "")
