"""The front: every plain request has its answer and no other's; all else is handed over whole."""

import itertools
import socket
from collections.abc import Iterator

import pytest
from front_kit import BOUNDS, KEY, SIGNED, Lobby, lobby_of, request_of, reset, told, written
from hypothesis import event, given, settings
from hypothesis import strategies as st

from native._heads_py import read
from native.front import Request

EVIL = b"\r\n\r\nGET /v1/evil HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(scope="module")
def echo() -> Iterator[Lobby]:
    with lobby_of() as lobby:
        lobby.echoes = True
        yield lobby


def test_a_request_is_read(lobby: Lobby) -> None:
    client = lobby.connect()
    client.sendall(request_of("/v1/payments?a=1", b"{}", SIGNED, "Prefer: wait=1"))
    request = lobby.next()
    assert request.asks == ("POST", "/v1/payments", KEY)
    assert (request.method, request.target, request.body) == ("POST", "/v1/payments?a=1", b"{}")
    assert (request.prefer, request.closes) == ("wait=1", False)
    assert request.headers[0] == (b"Host", b"x")
    assert len(request.headers) == 4
    lobby.answer(request, b"yes")
    assert lobby.read(client, len(written(b"yes"))) == written(b"yes")
    client.sendall(request_of("/v1/payments"))
    assert lobby.next().asks == ("GET", "/v1/payments", None)


def test_requests_may_come_letter_by_letter_and_together(echo: Lobby) -> None:
    client = echo.connect()
    wires = [request_of(f"/v1/{n}", b"x" * n) for n in range(4)]
    for letter in b"".join(wires):
        client.send(bytes([letter]))
        echo.look()
    client.sendall(b"".join(wires))
    expected = b"".join(written(b"/v1/%d %s" % (n, b"x" * n)) for n in range(4)) * 2
    assert echo.read(client, len(expected)) == expected


bodies = st.sampled_from([b"", b"{}", EVIL, b"x" * 300])


@settings(max_examples=150)
@given(
    asked=st.lists(st.tuples(st.integers(0, 2), bodies), min_size=1, max_size=8),
    cuts=st.lists(st.integers(1, 250), max_size=12),
)
def test_however_it_is_cut_every_connection_has_its_own_answers(
    echo: Lobby, asked: list[tuple[int, bytes]], cuts: list[int]
) -> None:
    streams, expected = [b"", b"", b""], [b"", b"", b""]
    for number, (whose, body) in enumerate(asked):
        streams[whose] += request_of(f"/v1/{number}", body)
        expected[whose] += written(b"/v1/%d %s" % (number, body))
    clients = [echo.connect() for _ in streams]
    places = [0, *itertools.accumulate(cuts), max(map(len, streams))]
    for start, end in itertools.pairwise(places):
        for client, stream in zip(clients, streams, strict=True):
            if stream[start:end]:
                client.sendall(stream[start:end])
        echo.look()
    for client, answers in zip(clients, expected, strict=True):
        assert echo.read(client, len(answers)) == answers
        client.close()


pieces = st.sampled_from(
    [
        request_of("/v1/a"),
        request_of("/v1/b", b"{}"),
        request_of("/v1/c", b"x" * (BOUNDS.body_bytes_max + 1)),
        request_of("/v1/d", b"x", "Transfer-Encoding: chunked"),
        request_of("/v1/payments/batch", b"y" * (BOUNDS.body_bytes_max + 1)),
        request_of("/v1/payments/batch?", b"y" * (BOUNDS.body_bytes_max + 1)),
        request_of("/healthz"),
        b"GET /v1/",
        b"POST /v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc",
    ]
)


@settings(max_examples=200)
@given(
    parts=st.lists(pieces | st.binary(max_size=30), max_size=5),
    cuts=st.lists(st.integers(1, 400), max_size=6),
    closes=st.booleans(),
)
def test_whatever_comes_is_served_or_handed_over_to_the_last_byte(
    echo: Lobby, parts: list[bytes], cuts: list[int], *, closes: bool
) -> None:
    last = request_of("/v1/e", b"zz", "Connection: close")
    stream, answers = b"".join(parts) + last * closes, b""
    rest, is_over = stream, False
    while rest and not is_over:
        head = read(rest)
        if isinstance(head, str):
            break
        most = BOUNDS.body_bytes_max
        if head.target.encode() == BOUNDS.batch:
            most = BOUNDS.batch_bytes_max
        end = head.size + head.body_bytes
        if head.body_bytes > most or end > len(rest):
            break
        answers += written(head.target.encode() + b" " + rest[head.size : end])
        rest, is_over = rest[end:], head.closes
    event("closed" if is_over else "handed" if rest else "served")
    client = echo.connect()
    for start, end in itertools.pairwise([0, *itertools.accumulate(cuts), len(stream)]):
        if stream[start:end]:
            client.sendall(stream[start:end])
            echo.look()
    if not is_over:
        client.shutdown(socket.SHUT_WR)
    assert echo.read(client, len(answers)) == answers
    if rest:
        echo.until(lambda: echo.handed)
        connection, before = echo.handed.pop()
        connection.settimeout(5)
        while part := connection.recv(1 << 16):
            before += part
        connection.close()
        echo.front.left()
        assert before == rest
    assert echo.is_over(client)
    assert not echo.handed
    client.close()


def test_what_stays_in_pieces_is_handed_over() -> None:
    with lobby_of(piece_seconds=0.05) as lobby:
        wire = request_of("/v1/payments", b"{}")
        for size in (1, 30, len(wire) - 1):
            lobby.connect().sendall(wire[:size])
            lobby.until(lambda: lobby.handed)
            assert lobby.handed.pop()[1] == wire[:size]
        assert lobby.front.connections == 0


def test_what_idles_is_closed() -> None:
    with lobby_of(begins=False, idle_seconds=0.05) as lobby:
        lobby.echoes = True
        client = lobby.connect()
        client.sendall(request_of("/v1/a"))
        lobby.begin()
        assert lobby.read(client, 999) == written(b"/v1/a ")
        assert lobby.is_over(lobby.connect())
        lobby.until(lambda: lobby.front.connections == 0)


def test_a_request_that_is_served_does_not_idle() -> None:
    with lobby_of(begins=False, idle_seconds=0.05) as lobby:
        client, idle = lobby.connect(), lobby.connect()
        client.sendall(request_of("/v1/a"))
        lobby.begin()
        request = lobby.next()
        assert lobby.is_over(idle)
        lobby.answer(request, b"late")
        assert lobby.read(client, 999) == written(b"late")


def test_a_slow_reader_has_its_whole_answer_and_delays_nobody(lobby: Lobby) -> None:
    slow, quick = lobby.connect(), lobby.connect()
    slow.sendall(request_of("/v1/slow") * 2)
    body = bytes(range(256)) * 40_000
    lobby.answer(lobby.next(), body)
    quick.sendall(request_of("/v1/quick"))
    lobby.answer(lobby.next(), b"quick")
    assert lobby.read(quick, len(written(b"quick"))) == written(b"quick")
    assert not lobby.requests, "nothing more is read of one who takes no answer"
    assert lobby.read(slow, len(written(body))) == written(body)
    lobby.answer(lobby.next(), b"second")
    assert lobby.read(slow, len(written(b"second"))) == written(b"second")


def test_who_never_takes_an_answer_is_closed() -> None:
    with lobby_of(begins=False, idle_seconds=0.1) as lobby:
        lobby.connect().sendall(request_of("/v1/a"))
        lobby.begin()
        lobby.answer(lobby.next(), b"x" * 20_000_000)
        lobby.until(lambda: lobby.front.connections == 0)


def test_an_answer_never_reaches_who_came_after(lobby: Lobby) -> None:
    """Every place of a connection is taken again by another while its request is served."""
    old = [lobby.connect() for _ in range(8)]
    for client in old:
        client.sendall(request_of("/v1/old"))
    lobby.until(lambda: len(lobby.requests) == 8)
    late, lobby.requests = lobby.requests, []
    for client in old:
        reset(client)
    lobby.until(lambda: lobby.front.connections == 0)
    new = [lobby.connect() for _ in range(8)]
    for client in new:
        client.sendall(request_of("/v1/new", b"body"))
    lobby.until(lambda: len(lobby.requests) == 8)
    for request in late:
        lobby.answer(request, b"old", closes=True)
    for request in lobby.requests:
        lobby.answer(request, told(request), closes=True)
    for client in new:
        assert lobby.read(client, 999) == written(b"/v1/new body")


def test_who_sends_no_more_has_his_answer_yet(lobby: Lobby) -> None:
    client = lobby.connect()
    client.sendall(request_of("/v1/a"))
    client.shutdown(socket.SHUT_WR)
    lobby.answer(lobby.next(), b"yes")
    assert lobby.read(client, 999) == written(b"yes")


def test_a_request_is_answered_once(lobby: Lobby) -> None:
    client = lobby.connect()
    client.sendall(request_of("/v1/a") + request_of("/v1/b"))
    first = lobby.next()
    lobby.answer(first, b"1")
    second = lobby.next()
    with pytest.raises(RuntimeError):
        lobby.answer(first, b"2")
    with lobby_of() as other, pytest.raises(RuntimeError):
        other.answer(second, b"2")
    with pytest.raises(TypeError):
        Request()
    lobby.answer(second, b"2", closes=True)
    assert lobby.read(client, 999) == written(b"1") + written(b"2")


def test_a_request_that_is_let_go_of_ends_its_connection(lobby: Lobby) -> None:
    client = lobby.connect()
    client.sendall(request_of("/v1/a"))
    lobby.next()
    assert lobby.is_over(client)


def test_an_answer_without_bytes_ends_the_connection(lobby: Lobby) -> None:
    client = lobby.connect()
    client.sendall(request_of("/v1/a"))
    lobby.send(lobby.next(), b"")
    assert lobby.is_over(client)
