"""The public pages: alive, ready, metrics, and the API described for machines and for people."""

import asyncio
import html
import json
import re
import shlex
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib.metadata import version
from typing import Any

import asyncpg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.domain.errors import PROBLEMS
from gateway.faces.api.openapi import document as made
from gateway.match.table import OPERATIONS
from tests.conftest import Database
from tests.e2e.harness import Reply, Shop, until


async def page(shop: Shop, path: str) -> Reply:
    reply = await shop.send("GET", path, b"", {})
    assert reply.status == 200
    assert reply.headers["Request-Id"].startswith("req_")
    return reply


async def test_alive_and_ready(shop: Shop) -> None:
    assert (await page(shop, "/healthz")).json == {"status": "alive"}
    assert (await page(shop, "/readyz")).json == {"status": "ready"}


async def test_pages_take_a_query_and_do_not_mind(shop: Shop) -> None:
    assert (await page(shop, "/healthz?from=probe")).json == {"status": "alive"}


async def test_metrics_count_requests_as_prometheus_reads_them(shop: Shop) -> None:
    async def counted(status: str) -> float:
        reply = await page(shop, "/metrics")
        assert reply.headers["Content-Type"].startswith("text/plain; version=")
        return sum(
            sample.value
            for family in text_string_to_metric_families(reply.body.decode())
            for sample in family.samples
            if sample.name == "floodgate_requests_total"
            and sample.labels == {"operation": "POST payments", "status": status}
        )

    before = await counted("201"), await counted("400")
    await shop.pay()
    await shop.pay()
    await shop.pay(currency="XXX")
    assert (await counted("201"), await counted("400")) == (before[0] + 2, before[1] + 1)


async def test_strangers_cannot_make_metrics_grow(shop: Shop) -> None:
    for number in range(5):
        await shop.send("GET", f"/v1/stranger{number}", b"", {})
        await shop.send(f"VERB{number}", "/v1/payments", b"", {})
    metrics = (await page(shop, "/metrics")).body.decode()
    assert "stranger" not in metrics
    assert "VERB" not in metrics


@pytest.fixture
def described(shop: Shop) -> "asyncio.Future[Any]":
    return asyncio.ensure_future(page(shop, "/openapi.json"))


async def test_the_document_describes_every_call_and_no_other(described: Any, shop: Shop) -> None:
    document = (await described).json
    # The fuzz holds the gateway to the document as it is made; this is the one that is served.
    assert document == json.loads(json.dumps(made(version("floodgate"), shop.base_url)))
    assert document["openapi"].startswith("3.1.")
    assert document["servers"] == [{"url": shop.base_url}]
    calls = {
        (method.upper(), path)
        for path, methods in document["paths"].items()
        for method in methods
        if path.startswith("/v1/")
    }
    assert calls == {(operation.method, operation.path) for operation in OPERATIONS}


def references(node: Any) -> Iterator[str]:
    """Find every `$ref` in a document."""
    if isinstance(node, dict):
        yield from [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        node = list(node.values())
    if isinstance(node, list):
        for item in node:
            yield from references(item)


async def test_every_reference_of_the_document_leads_somewhere(described: Any) -> None:
    document = (await described).json
    for reference in references(document):
        place = document
        for name in reference.removeprefix("#/").split("/"):
            place = place[name]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
async def test_every_call_says_what_it_answers(described: Any, operation: Any) -> None:
    call = (await described).json["paths"][operation.path][operation.method.lower()]
    responses = call["responses"]
    success = responses[str(operation.success)]
    assert success["content"]["application/json"]["schema"] != {}
    assert "example" in success["content"]["application/json"]
    assert {"401", "500", "503"} <= responses.keys()
    assert ("409" in responses) == operation.writes
    for status, response in responses.items():
        assert "Request-Id" in response["headers"]
        if status.startswith(("4", "5")):
            schema = response["content"]["application/problem+json"]["schema"]
            codes = schema["allOf"][1]["properties"]["code"]["enum"]
            assert {PROBLEMS[code].status for code in codes} == {int(status)}
            assert set(codes) == set(re.findall(r"`(\w+)`", response["description"]))


class Reader(HTMLParser):
    """Reads a page as strictly as a careful person: tags that close, links, ids."""

    EMPTY = frozenset({"meta", "br", "hr", "link", "img"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.code: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        if tag == "pre":
            self.code.append("")
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "pre" in self.open:
            self.code[-1] += data


async def test_the_page_for_people_is_whole_and_needs_nothing_else(shop: Shop) -> None:
    reply = await page(shop, "/docs")
    assert reply.headers["Content-Type"] == "text/html; charset=utf-8"
    reader = Reader(reply.body.decode())
    assert reader.open == []
    assert reader.tags.isdisjoint({"script", "img", "link", "iframe", "object", "embed"})
    names = {value for name, value in reader.attributes if name == "id"}
    targets = {str(value) for name, value in reader.attributes if name == "href"}
    assert {target.removeprefix("#") for target in targets if target[0] == "#"} <= names
    assert {target for target in targets if target[0] != "#"} == {"/openapi.json"}
    assert {f"problem-{code}" for code in PROBLEMS} <= names
    text = html.unescape(re.sub(r"<[^>]+>", "", reply.body.decode()))
    assert all(operation.path in text for operation in OPERATIONS)
    assert not re.search(r"url\(|@import|javascript:", reply.body.decode())


async def test_the_problems_lead_to_the_page(shop: Shop) -> None:
    refusal = (await shop.call("GET", "/v1/nothing")).json
    path, _, name = refusal["type"].partition("#")
    assert f'id="{name}"'.encode() in (await page(shop, path)).body


async def test_the_recipe_of_the_page_can_be_pasted_into_a_shell(shop: Shop) -> None:
    recipe, *_ = Reader((await page(shop, "/docs")).body.decode()).code
    key_id, secret = shop.credentials.key_id, shop.credentials.secret
    script = re.sub(r"^KEY_ID=.*$", f"KEY_ID={shlex.quote(key_id)}", recipe, flags=re.MULTILINE)
    script = re.sub(r"^SECRET=.*$", f"SECRET={shlex.quote(secret)}", script, flags=re.MULTILINE)
    assert script.count(key_id) == script.count(secret) == 1
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", script, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    answer, complaints = await process.communicate()
    assert process.returncode == 0, complaints
    body = answer[answer.index(b'{"object"') :]
    payment = json.JSONDecoder().raw_decode(body.decode())[0]
    assert payment["status"] == "succeeded"
    assert (await shop.payment(payment["id"])) == payment


async def test_ready_means_that_the_schema_is_current(shop: Shop, database: Database) -> None:
    owner = await asyncpg.connect(database.owner_url)
    forget = "UPDATE schema_version SET version = version + $1 WHERE version = (SELECT {} FROM {})"
    await owner.execute(forget.format("max(version)", "schema_version"), 1000)
    unready = {"status": "not_ready", "schema": "not current"}
    await until(lambda: answers(shop, 503, unready))
    await owner.execute(forget.format("max(version)", "schema_version"), -1000)
    await owner.close()
    await until(lambda: answers(shop, 200, {"status": "ready"}))


async def answers(shop: Shop, status: int, body: dict[str, str]) -> bool:
    """Tell whether readiness says this; what it saw last it repeats for a second."""
    reply = await shop.send("GET", "/readyz", b"", {})
    return (reply.status, reply.json) == (status, body)
