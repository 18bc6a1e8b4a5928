"""The compiled modules are there, are chosen, keep their types, and keep no memory."""

import contextlib
import gc
import subprocess
import sys
import tracemalloc
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import ModuleType

import pytest
from signing_client import SECRET, balance, parameters, payment, sign
from twins import COMPILED

from gateway.domain import limits
from native import (
    _arrays_c,
    _exchange_c,
    _front_c,
    _heads_c,
    _laps_c,
    _names_c,
    _routes_c,
    _signature_c,
    _times_c,
    arrays,
    envelope,
    exchange,
    front,
    laps,
    names,
    times,
)
from native.envelope import SignatureProblem

NOW, SOME_ID = datetime.now(UTC), uuid.uuid4()
ROOT = Path(__file__).parents[2]
BUILT = (
    *(_arrays_c, _exchange_c, _front_c, _heads_c, _laps_c),
    *(_names_c, _routes_c, _signature_c, _times_c),
)
TWINS = ("arrays", "exchange", "laps", "names", "signature", "routes", "times")
CHOSEN = """
from native import arrays, exchange, laps, names, routes, signature, times
print(arrays.COMPILED, exchange.COMPILED, laps.COMPILED)
print(names.COMPILED, signature.COMPILED, routes.COMPILED, times.COMPILED)
print(arrays.encode.__module__, exchange.read.__module__, laps.lap.__module__)
print(names.once.__module__)
print(signature.read.__module__, routes.RouteTable.__module__, times.now.__module__)
"""
BROKEN = """
import sys
sys.modules["native.{0}"] = None
import native.{1}
"""


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("module", BUILT)
def test_the_compiled_modules_are_loaded(module: ModuleType) -> None:
    assert module.__file__.endswith(tuple(EXTENSION_SUFFIXES))


def test_the_compiled_twins_are_chosen() -> None:
    answer = run(CHOSEN)
    assert answer.stdout.split() == [*["True"] * 7, *(f"native._{name}_c" for name in TWINS)]


def test_the_pure_twins_are_chosen_on_demand() -> None:
    answer = run(CHOSEN, FLOODGATE_PURE="1")
    assert answer.stdout.split() == [*["False"] * 7, *(f"native._{name}_py" for name in TWINS)]


def test_the_front_is_there_but_where_nothing_compiled_is_wanted() -> None:
    assert front.COMPILED
    answer = run("from native import front; print(front.COMPILED)", FLOODGATE_PURE="1")
    assert answer.stdout.split() == ["False"]


@pytest.mark.parametrize("chooser", [*TWINS, "front"])
def test_a_missing_build_is_an_error_with_a_hint(chooser: str) -> None:
    twin = f"_{chooser}_c"
    answer = run(BROKEN.format(twin, chooser))
    assert answer.returncode == 1
    assert f"ImportError: native.{twin} is not built: run `pip install -e .`" in answer.stderr
    assert run(BROKEN.format(twin, chooser), FLOODGATE_PURE="1").returncode == 0


def test_the_bounds_are_those_of_the_house() -> None:
    assert envelope.HEADERS_COUNT_MAX == limits.HEADERS_COUNT_MAX
    assert envelope.NONCE_CHARS_MAX == limits.NONCE_CHARS_MAX


def test_the_compiled_twins_have_the_names_and_parameters_of_their_specifications() -> None:
    modules = [module.__name__ for module in BUILT]
    answer = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "--ignore-missing-stub", *modules],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr


def read_and_verify() -> None:
    module = COMPILED.signature
    key = module.HmacKey(SECRET)
    for request in (
        sign(payment(), given=parameters(alg="hmac-sha256", nonce="n", tag='\\"')),
        sign(payment(b"x" * 5000)),
        sign(balance(), ["@method", "@path", "@authority", "host", "@target-uri"]),
    ):
        read = module.read(*request)
        assert key.verify(read.base, read.signature)
    good = sign(payment())
    for wrong in (
        payment(),
        good._replace(body=b""),
        good._replace(target="/\ud800"),
        good.having("Signature", "sig1=:AAB=:"),
        good.having("Content-Digest", "sha-256=:AAAA"),
        good.having("Signature-Input", 'sig1=("@method" "host" "absent")'),
        sign(payment(), ["@method"]),
    ):
        with pytest.raises(SignatureProblem):
            module.read(*wrong)
    with pytest.raises(TypeError):
        module.read("GET", "/", ((b"a", "b"),), b"", "http", frozenset())


def match_routes() -> None:
    table = COMPILED.routes.RouteTable([("GET", "/a/{b}", object()), ("PUT", "/c", None)])
    for path in ("/a/x", "/a/", "/c", "/a/b/c", "/\ud800"):
        table.match("GET", path)
        table.allowed(path)
    with pytest.raises(ValueError, match="fit alike"):
        COMPILED.routes.RouteTable([("GET", "/a", 1), ("GET", "/a", 2)])


COLUMNS = {
    arrays.UUID: ["0" * 32, None, SOME_ID, str(SOME_ID)],
    arrays.TIMESTAMPTZ: (NOW, None),
    arrays.TEXT: ["ä" * 90, "b", None],
    arrays.INT8: (1 << 40, None),
}


def write_arrays() -> None:
    for kind, column in COLUMNS.items():
        arrays.encode(kind, column)
    for kind in (arrays.INT2, arrays.TEXT, arrays.UUID, arrays.TIMESTAMPTZ):
        with pytest.raises((TypeError, OverflowError)):
            arrays.encode(kind, [1 << 50])


def look_for_names() -> None:
    for text in (b'{"a":{"b":[1]},"c":"d"}', b'{"a":1,"a":2}', b"["):
        names.once(text)


def exchange_words() -> None:
    for target in ("/a", "/a b", "/\ud800"):
        exchange.write("POST", target, host="h", fields={"a": "ä", "b": "c"}, body=b"{}")
    with pytest.raises(TypeError):
        exchange.write("POST", "/", host="h", fields={"a": 1}, body=b"")  # type: ignore[dict-item]
    head = b"HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 2\r\n"
    for data in (head + b"\r\nok", head + b"\r\n", head + b"C : d\r\n\r\nok", b"H"):
        exchange.read(data)
        exchange.read_request(data.replace(b"HTTP/1.1 200 OK", b"POST /a HTTP/1.1"))


def tell_laps() -> None:
    tally = laps.Buckets("seconds", [0.1, float("inf")])
    for keeps_laps in (False, True):
        laps.start(keeps_laps=keeps_laps)
        laps.lap(tally)
    tally.taken()
    with pytest.raises(ValueError, match="infinite"):
        laps.Buckets("seconds", [0.1])


def tell_times() -> None:
    # No other zone: each of its offsets leaves a name in Python's own cache of methods.
    for at in (times.now(), NOW, NOW.replace(year=2000), None):
        with contextlib.suppress(TypeError):
            times.milliseconds(at)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "work",
    [
        *(read_and_verify, match_routes, write_arrays, look_for_names, exchange_words),
        *(tell_laps, tell_times),
    ],
)
def test_the_compiled_code_keeps_no_memory(work: Callable[[], None]) -> None:
    for _ in range(20):
        work()
    gc.collect()
    tracemalloc.start()
    try:
        work()
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(200):
            work()
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 200 * 16, "the smallest object kept in each round would show"


def test_the_compiled_reader_holds_on_to_nothing_it_was_given() -> None:
    request = sign(payment())
    given = [request.headers, request.body, *(part for pair in request.headers for part in pair)]
    before = [sys.getrefcount(part) for part in given]
    for _ in range(100):
        COMPILED.signature.read(*request)
        with pytest.raises(SignatureProblem):
            COMPILED.signature.read(*request._replace(body=b"other"))
    assert [sys.getrefcount(part) for part in given] == before
