"""The front: every plain request has its answer and no other's; all else is handed over whole."""

import gc
import itertools
import re
import resource
import socket
import time
from collections.abc import Iterator

import pytest
from front_kit import (
    BOUNDS,
    Lobby,
    files_open,
    is_readable,
    lobby_of,
    request_of,
    reset,
    told,
    written,
)
from hypothesis import event, given, settings
from hypothesis import strategies as st

from native._heads_py import read
from native.front import Request

KEY = f"key_{'0' * 32}"
SIGNED = f'Signature-Input: s=("@method" "content-length");created=1;keyid="{KEY}"'
EVIL = b"\r\n\r\nGET /v1/evil HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def lobby() -> Iterator[Lobby]:
    with lobby_of() as lobby:
        yield lobby


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


@settings(max_examples=150, deadline=None)
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


@settings(max_examples=200, deadline=None)
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
    with lobby_of(idle_seconds=0.05) as lobby:
        lobby.echoes = True
        client = lobby.connect()
        client.sendall(request_of("/v1/a"))
        assert lobby.read(client, 999) == written(b"/v1/a ")
        assert lobby.is_over(lobby.connect())
        lobby.until(lambda: lobby.front.connections == 0)


def test_a_request_that_is_served_does_not_idle() -> None:
    with lobby_of(idle_seconds=0.05) as lobby:
        client, idle = lobby.connect(), lobby.connect()
        client.sendall(request_of("/v1/a"))
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
    with lobby_of(idle_seconds=0.1) as lobby:
        lobby.connect().sendall(request_of("/v1/a"))
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


def test_many_are_refused_alike_and_each_has_its_own_id(lobby: Lobby) -> None:
    going, last = [b"HTTP/1.1 503 ", b"-", b"!"], [b"last ", b"."]
    clients, turned = [lobby.connect() for _ in range(3)], []
    for client, closes in zip(clients, (False, True, False), strict=True):
        headers = ["Connection: close"] * closes
        client.sendall(request_of("/v1/a", b"", *headers))
        turned.append(lobby.next())
    lobby.front.refuse(turned, (going, last), b"111222333")
    lobby.front.wake()
    assert lobby.read(clients[0], 21) == b"HTTP/1.1 503 111-111!"
    assert lobby.read(clients[1], 99) == b"last 222."
    assert lobby.read(clients[2], 21) == b"HTTP/1.1 503 333-333!"
    lobby.front.refuse([], (going, last), b"")
    with pytest.raises(RuntimeError):
        lobby.front.refuse(turned, (going, last), b"111222333")


FORMS = ([b"HTTP/1.1 503 ", b"-", b"!"], [b"last ", b"."])
REFUSED = len(b"HTTP/1.1 503 -!") + 2 * 24
CREATE = ("POST", "/v1/payments", KEY)


def stands(lobby: Lobby, passes: int, seconds: float = 60.0) -> None:
    assert lobby.front.stand(CREATE, FORMS, (passes, time.monotonic() + seconds, 5))
    lobby.front.wake()
    # What stands is heeded before anything that comes later: this comes later.
    lobby.connect().sendall(request_of("/v1/before"))
    request = lobby.next()
    lobby.answer(request, b"")
    assert request.target == "/v1/before"


def test_what_stands_is_refused_by_the_thread_but_for_a_few(lobby: Lobby) -> None:
    stands(lobby, 2)
    client = lobby.connect()
    wire = request_of("/v1/payments?a=b", b"{}", SIGNED)
    for number in (1, 2):
        client.sendall(wire)
        lobby.answer(lobby.next(), b"%d" % number)
        assert lobby.read(client, len(written(b"1"))) == written(b"%d" % number)
    client.sendall(wire * 300)
    answers = lobby.read(client, 300 * REFUSED)
    ids = re.findall(rb"HTTP/1.1 503 ([0-9a-f]{24})-\1!", answers)
    assert len(set(ids)) == len(ids) == 300
    assert not lobby.requests
    assert (lobby.front.refused(), lobby.front.refused()) == ([(5, 300)], [])


def test_what_stands_holds_for_its_like_alone(lobby: Lobby) -> None:
    stands(lobby, 0)
    others = [
        request_of("/v1/payments", b"", SIGNED),
        request_of("/v1/payments", b"{}"),
        request_of("/v1/payment", b"{}", SIGNED),
        request_of("/v1/payments", b"{}", SIGNED.replace("key_0", "key_1")),
    ]
    for other in others:
        lobby.connect().sendall(other)
        lobby.answer(lobby.next(), b"")
    client = lobby.connect()
    client.sendall(request_of("/v1/payments", b"{}", SIGNED, "Connection: close"))
    assert re.fullmatch(rb"last [0-9a-f]{24}\.", lobby.read(client, 999))


def test_what_stands_has_an_end_and_the_last_word_holds(lobby: Lobby) -> None:
    client, wire = lobby.connect(), request_of("/v1/payments", b"{}", SIGNED)
    for number in range(20):  # more than there is room for
        asks = ("POST", f"/v1/{number}", None)
        assert lobby.front.stand(asks, FORMS, (0, time.monotonic() + 60, 0))
    stands(lobby, 0)
    client.sendall(wire)
    assert len(lobby.read(client, REFUSED)) == REFUSED
    stands(lobby, 0, -1.0)
    client.sendall(wire)
    assert lobby.next().asks == CREATE


def test_what_is_too_long_or_counted_nowhere_does_not_stand(lobby: Lobby) -> None:
    long = ("POST", "/v1/" + "a" * 300, None)
    terms = (0, time.monotonic() + 60, 0)
    assert not lobby.front.stand(long, FORMS, terms)
    assert not lobby.front.stand(CREATE, ([b"x" * 3000], [b""]), terms)
    assert not lobby.front.stand(CREATE, ([b"x"] * 5, [b""]), terms)
    assert not lobby.front.stand(CREATE, FORMS, (0, 0.0, 64))


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


def test_no_more_are_accepted_than_there_is_room_for() -> None:
    with lobby_of(connections_max=2) as lobby:
        lobby.echoes = True
        first, second, third = lobby.connect(), lobby.connect(), lobby.connect()
        third.sendall(request_of("/v1/third"))
        lobby.until(lambda: lobby.front.connections == 2)
        second.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
        lobby.until(lambda: lobby.handed)
        assert not lobby.front.take()[0], "one that was handed over holds its place"
        first.close()
        assert lobby.read(third, len(written(b"/v1/third "))) == written(b"/v1/third ")
        fourth = lobby.connect()
        fourth.sendall(request_of("/v1/fourth"))
        lobby.front.left()
        assert lobby.read(fourth, len(written(b"/v1/fourth "))) == written(b"/v1/fourth ")


def test_where_no_file_is_left_accepting_goes_on_later(lobby: Lobby) -> None:
    client = socket.socket()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        client.connect(("127.0.0.1", lobby.port))
        client.sendall(request_of("/v1/a"))
        assert not is_readable(0.3, lobby.front.bell)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert lobby.next().target == "/v1/a"
    client.close()


def test_whoever_is_served_when_it_drains_has_his_answer(lobby: Lobby) -> None:
    idle, half, served, gone = (lobby.connect() for _ in range(4))
    served.sendall(request_of("/v1/served") * 2)
    gone.sendall(request_of("/v1/gone"))
    half.sendall(b"GET /v1/half")
    lobby.until(lambda: len(lobby.requests) == 2 and lobby.front.connections == 4)
    lobby.front.drain()
    lobby.until(lambda: lobby.front.is_quiet and lobby.handed)
    assert [before for _, before in lobby.handed] == [b"GET /v1/half"]
    assert lobby.is_over(idle)
    with pytest.raises(ConnectionRefusedError):
        lobby.connect()
    gone.close()
    for request in lobby.requests:
        lobby.answer(request, told(request))
    assert lobby.read(served, 999) == written(b"/v1/served ")


def test_a_stop_waits_for_who_takes_his_answer_and_for_nobody_else() -> None:
    with lobby_of(linger_seconds=60.0) as lobby:
        slow, unanswered = lobby.connect(), lobby.connect()
        slow.sendall(request_of("/v1/slow"))
        request = lobby.next()
        unanswered.sendall(request_of("/v1/unanswered"))
        held = lobby.next()
        body = b"x" * 20_000_000
        lobby.answer(request, body)
        lobby.front.stop()
        assert lobby.is_over(unanswered)
        assert lobby.read(slow, len(written(body)) + 1) == written(body)
        assert held.target == "/v1/unanswered"


def test_whatever_was_answered_before_a_stop_is_written() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    with lobby_of(connections_max=1500) as lobby:
        clients = [lobby.connect() for _ in range(700)]
        for client in clients:
            client.sendall(request_of("/v1/a"))
        lobby.until(lambda: len(lobby.requests) == len(clients))
        for request in lobby.requests:
            lobby.front.answer(request, written(b"yes"), False)  # noqa: FBT003 - as it is
        lobby.front.stop()
        assert all(lobby.read(client, 999) == written(b"yes") for client in clients)


def test_a_drain_does_not_keep_the_thread_awake(lobby: Lobby) -> None:
    client = lobby.connect()
    client.sendall(request_of("/v1/a"))
    request = lobby.next()
    lobby.front.drain()
    lobby.until(lambda: lobby.front.is_quiet)
    busy = lobby.busy_seconds()
    assert not is_readable(0.3, client)
    assert lobby.busy_seconds() - busy < 0.15
    lobby.answer(request, b"yes")
    assert lobby.read(client, 999) == written(b"yes")


def test_a_stop_does_not_wait_for_ever() -> None:
    with lobby_of(linger_seconds=0.05) as lobby:
        lobby.connect().sendall(request_of("/v1/never"))
        lobby.answer(lobby.next(), b"x" * 20_000_000)


def test_thousands_of_connections_leave_nothing_behind() -> None:
    def come_and_go(lobby: Lobby, times: int) -> None:
        for number in range(times):
            client = lobby.connect()
            wire = request_of(f"/v1/{number}", b"body")
            client.sendall(wire[: 1 + number % len(wire)])
            if number % 3 == 0:
                reset(client)
            else:
                client.close()
            lobby.look()
            for connection, _ in lobby.handed:
                connection.close()
                lobby.front.left()
            lobby.handed.clear()
        lobby.until(lambda: lobby.front.connections == 0)
        lobby.look()  # takes what was handed over last
        lobby.forget()

    gc.collect()  # files that other tests left to it
    before = files_open()
    with lobby_of() as lobby:
        lobby.echoes = True
        come_and_go(lobby, 3000)
        # Its two bells and its watch; the listening socket came from outside.
        assert files_open() == before + 4
