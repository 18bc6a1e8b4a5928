"""Times one route match among 40 routes."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from pytest_benchmark.fixture import BenchmarkFixture

from native import _routes_c, _routes_py

ROUTES = [
    (method, path)
    for path, methods in {
        "/healthz": "GET",
        "/readyz": "GET",
        "/metrics": "GET",
        "/openapi.json": "GET",
        "/docs": "GET",
        "/v1/payments": "GET POST",
        "/v1/payments/batch": "POST",
        "/v1/payments/{id}": "GET",
        "/v1/payments/{id}/capture": "POST",
        "/v1/payments/{id}/cancel": "POST",
        "/v1/payments/{id}/sync": "POST",
        "/v1/payments/{id}/timeline": "GET",
        "/v1/payments/{id}/refunds": "GET POST",
        "/v1/refunds/{id}": "GET",
        "/v1/refunds/{id}/cancel": "POST",
        "/v1/ledger/accounts": "GET",
        "/v1/ledger/entries": "GET",
        "/v1/events": "GET",
        "/v1/events/{id}": "GET",
        "/v1/webhook_endpoints": "GET POST",
        "/v1/webhook_endpoints/{id}": "GET DELETE",
        "/v1/webhook_endpoints/{id}/deliveries": "GET",
        "/v1/webhook_endpoints/{id}/deliveries/{delivery}": "GET",
        "/v1/webhook_endpoints/{id}/deliveries/{delivery}/retry": "POST",
        "/v1/channels/{channel}/notify": "POST",
        "/v1/wallets": "GET POST",
        "/v1/wallets/{id}": "GET",
        "/v1/wallets/{id}/transfers": "POST",
        "/v1/settlements": "GET",
        "/v1/settlements/{id}": "GET",
        "/v1/payouts": "GET POST",
        "/v1/payouts/{id}": "GET",
        "/v1/reports": "POST",
        "/v1/reports/{id}": "GET",
    }.items()
    for method in methods.split()
]

LOOKUPS = {
    "static": ("POST", "/v1/payments", ()),
    "one parameter": (
        "POST",
        "/v1/payments/pay_019a5c3e8f7b7c1d/refunds",
        ("pay_019a5c3e8f7b7c1d",),
    ),
    "two parameters": (
        "POST",
        "/v1/webhook_endpoints/we_019a5c3e/deliveries/ntc_019a5c3f/retry",
        ("we_019a5c3e", "ntc_019a5c3f"),
    ),
    "no route": ("GET", "/v1/nothing/here", None),
}

Lookup = Callable[[str, str], Any]
Parameters = tuple[str, ...] | None


def ours(module: ModuleType) -> Lookup:
    table = module.RouteTable([(method, path, path) for method, path in ROUTES])
    return table.match  # type: ignore[no-any-return]


def read_ours(found: Any) -> Parameters:
    return found[1] if found else None


def aiohttp_router() -> Lookup:
    async def handler(request: web.Request) -> web.Response:
        raise NotImplementedError

    app = web.Application()
    for method, path in ROUTES:
        app.router.add_route(method, path, handler)
    app.freeze()
    requests = {
        (method, path): make_mocked_request(method, path, app=app)
        for method, path, _ in LOOKUPS.values()
    }

    def lookup(method: str, path: str) -> web.UrlMappingMatchInfo:
        try:
            app.router.resolve(requests[method, path]).send(None)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
        raise AssertionError("the router waits for nothing")

    return lookup


def read_aiohttp(found: web.UrlMappingMatchInfo) -> Parameters:
    return None if found.http_exception else tuple(found.values())


def dict_of_segments() -> Lookup:
    """The shortest router that one would write by hand: no check of the path at all."""
    tree: dict[str, Any] = {}
    for method, path in ROUTES:
        node = tree
        for segment in path.split("/"):
            node = node.setdefault("*" if segment.startswith("{") else segment, {})
        node[method] = path

    def lookup(method: str, path: str) -> tuple[str, list[str]] | None:
        node, parameters = tree, []
        for segment in path.split("/"):
            child = node.get(segment)
            if child is None:
                child = node.get("*")
                if child is None:
                    return None
                parameters.append(segment)
            node = child
        payload = node.get(method)
        return None if payload is None else (payload, parameters)

    return lookup


def read_dict(found: tuple[str, list[str]] | None) -> Parameters:
    return found and tuple(found[1])


RIVALS: dict[str, tuple[Callable[[], Lookup], Callable[[Any], Parameters]]] = {
    "compiled": (lambda: ours(_routes_c), read_ours),
    "pure": (lambda: ours(_routes_py), read_ours),
    "aiohttp router": (aiohttp_router, read_aiohttp),
    "dict of segments": (dict_of_segments, read_dict),
}


@pytest.mark.parametrize("rival", RIVALS)
@pytest.mark.parametrize("kind", LOOKUPS)
def test_match(benchmark: BenchmarkFixture, kind: str, rival: str) -> None:
    benchmark.group = f"match one of 40 routes, {kind}"
    make, read = RIVALS[rival]
    method, path, parameters = LOOKUPS[kind]
    lookup = make()
    assert len(ROUTES) == 40
    assert read(lookup(method, path)) == parameters
    assert read(benchmark(lookup, method, path)) == parameters
