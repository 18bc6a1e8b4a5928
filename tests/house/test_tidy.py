"""The house's habits, each as a function that names its offenders; a ratchet where there are some.

Every law is shown to bite: `PLANTED` holds one offender for each.
"""

import ast
import re
from collections.abc import Callable, Iterator

import pytest
from source_tree import Function, Source, dotted, parsed, shipped, sources, walked

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 400
PARAMETERS_MAX = 5
# The house asks for two; what goes beyond is keyword-only.  Lower this whenever it can be.
POSITIONAL_MAX = 4
# Signatures that are not ours to choose, or that the profiler chose.
WIDER = {
    "gateway.faces.api.server._request": "aiohttp's request factory",
    "native._signature_py.read": "a request is four things and a server two; called positionally",
    "native._signature_py.signature_base": "as `read`",
    "native._signature_py._request": "as `read`",
}
NAMELESS = {"utils", "util", "helpers", "helper", "common", "misc"}
MONEY = re.compile(r"gateway/(domain/(money|posting)\.py|ledger/.*)")
READS_ENVIRONMENT = re.compile(r"gateway/settings\.py|native/.*")
PRINTS = re.compile(r"gateway/(cli|cli_merchant|cli_payment|cli_policy|demo|launch|terminal)\.py")
ENVIRONMENT = {"os.environ", "os.environb", "os.getenv", "os.getenvb"}
SENTENCE_END = re.compile(r"[.?!…](?=\s|$)")

Offences = Iterator[ast.AST]
Law = Callable[[Source], Offences]


def functions(source: Source) -> Iterator[Function]:
    return source.find(ast.FunctionDef, ast.AsyncFunctionDef)


def takes_kwargs(source: Source) -> Offences:
    """No `**kwargs`: a signature says what it takes."""
    return (function for function in functions(source) if function.args.kwarg is not None)


def is_nameless(source: Source) -> Offences:
    """No module that only says that it holds things."""
    if source.path.stem in NAMELESS or NAMELESS & set(source.path.parts):
        yield source.tree


def is_float(node: ast.AST) -> bool:
    """Tell whether this makes or names a float."""
    match node:
        case ast.Constant(value=float()) | ast.Name(id="float"):
            return True
        case ast.BinOp(op=ast.Div()) | ast.AugAssign(op=ast.Div()):
            return True
    return False


def floats_near_money(source: Source) -> Offences:
    """No float near money: no literal, no `float` (but for jitter), no true division."""
    if MONEY.fullmatch(str(source.path)):
        jitter = {id(arg.annotation) for arg in source.find(ast.arg) if arg.arg == "jitter"}
        floats = filter(is_float, walked(source.tree))
        yield from (node for node in floats if id(node) not in jitter)


def is_naive(call: ast.Call) -> bool:
    """Tell whether this call makes a datetime without a zone."""
    name = dotted(call.func)
    words = {word.arg for word in call.keywords}
    match name.split("."):
        case [*_, "datetime", "now"]:
            return not call.args and "tz" not in words
        case [*_, "datetime", "fromtimestamp"]:
            return len(call.args) < 2 and "tz" not in words
        case [*_, "datetime", "utcnow" | "utcfromtimestamp" | "today" | "strptime"]:
            return True
        case ["datetime"] | ["datetime", "datetime"]:
            return len(call.args) < 8 and "tzinfo" not in words
    return False


def has_naive_datetimes(source: Source) -> Offences:
    """No datetime without a zone."""
    return filter(is_naive, source.find(ast.Call))


def opens_without_a_sentence(source: Source) -> Offences:
    """Every file opens with one sentence that says whom it serves."""
    first = (ast.get_docstring(source.tree) or "").partition("\n\n")[0]
    if len(SENTENCE_END.findall(first)) != 1 or not SENTENCE_END.match(first[-1:]):
        yield source.tree


def has_long_functions(source: Source) -> Offences:
    """A function ends where the screen ends."""
    for function in functions(source):
        assert function.end_lineno is not None
        if function.end_lineno - function.lineno >= FUNCTION_LINES_MAX:
            yield function


def is_long(source: Source) -> Offences:
    """A file is read in one sitting."""
    if source.text.count("\n") > FILE_LINES_MAX:
        yield source.tree


def has_wide_signatures(source: Source) -> Offences:
    """Few parameters, and only the first of them by position; `self` does not count."""
    for function in functions(source):
        arguments = function.args
        positional = [a.arg for a in (*arguments.posonlyargs, *arguments.args)]
        positional = [name for name in positional if name not in {"self", "cls"}]
        total = len(positional) + len(arguments.kwonlyargs)
        allowed = f"{source.module}.{function.name}" in WIDER
        if (len(positional) > POSITIONAL_MAX or total > PARAMETERS_MAX) and not allowed:
            yield function


def reads_the_environment(source: Source) -> Offences:
    """Only the settings read the environment; native must know its twin before there are any."""
    if READS_ENVIRONMENT.fullmatch(str(source.path)):
        return
    for node in source.find(ast.Attribute, ast.ImportFrom):
        match node:
            case ast.Attribute() if dotted(node) in ENVIRONMENT:
                yield node
            case ast.ImportFrom(module="os", names=names):
                if any(f"os.{alias.name}" in ENVIRONMENT for alias in names):
                    yield node


def prints(source: Source) -> Offences:
    """Only commands speak to a terminal."""
    if not PRINTS.fullmatch(str(source.path)):
        yield from (call for call in source.find(ast.Call) if dotted(call.func) == "print")


def is_unfinished(source: Source) -> Offences:
    """Nothing is left for later."""
    if re.search(r"\b(TODO|FIXME|XXX)\b", source.text):
        yield source.tree


LAWS: tuple[Law, ...] = (
    takes_kwargs,
    is_nameless,
    floats_near_money,
    has_naive_datetimes,
    opens_without_a_sentence,
    has_long_functions,
    is_long,
    has_wide_signatures,
    reads_the_environment,
    prints,
    is_unfinished,
)


@pytest.mark.parametrize("law", LAWS)
def test_shipped_code_keeps(law: Law) -> None:
    found = [source.at(node) for source in shipped() for node in law(source)]
    assert not found, f"{law.__doc__}\n" + "\n".join(found)


@pytest.mark.parametrize(
    "law",
    [opens_without_a_sentence, is_long, has_long_functions, is_nameless, has_naive_datetimes],
)
def test_tests_and_benchmarks_keep(law: Law) -> None:
    files = sources("tests", "bench")
    found = [source.at(node) for source in files for node in law(source)]
    assert not found, f"{law.__doc__}\n" + "\n".join(found)


def test_no_exception_is_kept_for_longer_than_it_is_needed() -> None:
    names = {f"{source.module}.{f.name}" for source in shipped() for f in functions(source)}
    assert names >= WIDER.keys()


PLANTED = (
    (takes_kwargs, "gateway/flow/pay.py", "def pay(**options): ..."),
    (takes_kwargs, "gateway/flow/pay.py", "class A:\n    async def pay(self, **options): ..."),
    (is_nameless, "gateway/ledger/utils.py", ""),
    (is_nameless, "gateway/common/money.py", ""),
    (floats_near_money, "gateway/domain/money.py", "rate = 0.006"),
    (floats_near_money, "gateway/domain/posting.py", "def fee(rate: float): ..."),
    (floats_near_money, "gateway/ledger/rules.py", "half = amount / 2"),
    (floats_near_money, "gateway/ledger/rules.py", "amount /= 2"),
    (floats_near_money, "gateway/ledger/rules.py", "fee = float(amount)"),
    (has_naive_datetimes, "gateway/flow/pay.py", "at = datetime.now()"),
    (has_naive_datetimes, "gateway/flow/pay.py", "at = datetime.datetime.utcnow()"),
    (has_naive_datetimes, "gateway/flow/pay.py", "at = datetime.fromtimestamp(0)"),
    (has_naive_datetimes, "gateway/flow/pay.py", "at = datetime(2026, 5, 1)"),
    (opens_without_a_sentence, "gateway/flow/pay.py", "import json"),
    (opens_without_a_sentence, "gateway/flow/pay.py", '"""Pays"""'),
    (opens_without_a_sentence, "gateway/flow/pay.py", '"""Pays. And more."""'),
    (has_long_functions, "gateway/flow/pay.py", "def pay():" + "\n    ..." * 70),
    (is_long, "gateway/flow/pay.py", "\n" * 401),
    (has_wide_signatures, "gateway/flow/pay.py", "def pay(a, b, c, d, e): ..."),
    (has_wide_signatures, "gateway/flow/pay.py", "def pay(a, /, b, *, c, d, e, f): ..."),
    (reads_the_environment, "gateway/flow/pay.py", "import os\nos.environ['X']"),
    (reads_the_environment, "gateway/flow/pay.py", "import os\nos.getenv('X')"),
    (reads_the_environment, "gateway/flow/pay.py", "from os import environ"),
    (prints, "gateway/flow/pay.py", "print(1)"),
    (is_unfinished, "gateway/flow/pay.py", "# TODO: later"),
)


@pytest.mark.parametrize(("law", "path", "text"), PLANTED)
def test_an_offender_is_found(law: Law, path: str, text: str) -> None:
    assert len(list(law(parsed(path, text)))) == 1


def test_every_law_has_an_offender() -> None:
    assert {law for law, _, _ in PLANTED} == set(LAWS)


@pytest.mark.parametrize(
    ("law", "path", "text"),
    [
        (floats_near_money, "gateway/ledger/rules.py", "half = (amount + 1) // 2"),
        (floats_near_money, "gateway/ledger/rules.py", "def due(jitter: float): ..."),
        (floats_near_money, "gateway/drivers/postgres.py", "seconds = 0.5"),
        (has_naive_datetimes, "gateway/flow/pay.py", "at = datetime.now(UTC)"),
        (has_naive_datetimes, "gateway/flow/pay.py", "at = clock.now()"),
        (has_naive_datetimes, "gateway/flow/pay.py", "at = datetime(2026, 5, 1, tzinfo=UTC)"),
        (opens_without_a_sentence, "gateway/flow/pay.py", '"""Pays, v1.2.\n\nMore. Much."""'),
        (has_long_functions, "gateway/flow/pay.py", "def pay():" + "\n    ..." * 69),
        (is_long, "gateway/flow/pay.py", "\n" * 400),
        (has_wide_signatures, "gateway/flow/pay.py", "def pay(self, a, b, *, c, d, e): ..."),
        (reads_the_environment, "gateway/settings.py", "import os\nos.environ['X']"),
        (prints, "gateway/cli.py", "print(1)"),
    ],
)
def test_what_the_house_allows(law: Law, path: str, text: str) -> None:
    assert list(law(parsed(path, text))) == []
