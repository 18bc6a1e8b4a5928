"""How the front bears that there is no room, and how it ends: nothing is forgotten or left."""

import gc
import os
import resource
import socket
import time
from pathlib import Path

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

from native.front import Front


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


def test_all_doors_are_closed_while_there_is_no_room_and_open_again(tmp_path: Path) -> None:
    door = tmp_path / "door"
    with lobby_of(door=str(door), connections_max=1) as lobby, socket.socket(socket.AF_UNIX) as one:
        lobby.echoes = True
        one.connect(str(door))
        one.sendall(request_of("/v1/first"))
        assert lobby.read(one, len(written(b"/v1/first "))) == written(b"/v1/first ")
        second = lobby.connect()
        with socket.socket(socket.AF_UNIX) as third:
            third.connect(str(door))
            one.close()
            for client, path in ((second, "/v1/second"), (third, "/v1/third")):
                client.sendall(request_of(path))
                answer = written(f"{path} ".encode())
                assert lobby.read(client, len(answer)) == answer
                client.shutdown(socket.SHUT_RDWR)


def test_a_drained_front_hears_nothing_of_a_door_that_others_hold(tmp_path: Path) -> None:
    door = tmp_path / "door"
    with lobby_of(door=str(door)) as lobby, socket.socket(fileno=os.dup(lobby.doors[1])):
        lobby.front.drain()
        lobby.until(lambda: lobby.front.is_quiet)
        with socket.socket(socket.AF_UNIX) as late:
            late.connect(str(door))  # nobody accepts it any more
            lobby.until(lobby.sleeps)


@pytest.mark.parametrize("count", [0, 5])
def test_a_front_has_a_door_and_not_too_many(count: int) -> None:
    with pytest.raises(ValueError, match="doors"):
        Front((1 << 20,) * count, BOUNDS)


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
        lobby.until(lobby.sleeps)
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
    lobby.until(lobby.sleeps)
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

    gc.collect()  # files that other tests left to it
    before = files_open()
    with lobby_of() as lobby:
        lobby.echoes = True
        come_and_go(lobby, 3000)

        def is_all_closed() -> bool:
            lobby.forget()
            return files_open() == before + 4  # its two bells, its watch, and where it listens

        lobby.until(is_all_closed)


def test_a_front_that_cannot_be_made_closes_nothing_of_others() -> None:
    before = files_open()
    listening = socket.socket()
    with pytest.raises(AttributeError):
        Front((listening.fileno(),), "no bounds")  # type: ignore[arg-type]
    with pytest.raises(OSError, match="listen"):
        Front((1 << 20,), BOUNDS)
    assert listening.fileno() >= 0
    listening.getsockname()
    listening.close()
    gc.collect()
    assert files_open() == before


def test_whoever_came_before_a_drain_is_served() -> None:
    with lobby_of(begins=False, connections_max=128) as lobby:
        clients = [lobby.connect() for _ in range(100)]  # more than are accepted in one round
        for client in clients[1:]:
            client.sendall(request_of("/v1/a"))
        lobby.echoes = True
        lobby.front.drain()
        lobby.begin()
        lobby.until(lambda: lobby.front.is_quiet)
        assert lobby.is_over(clients[0])
        assert all(lobby.read(client, 999) == written(b"/v1/a ") for client in clients[1:])


def test_what_the_thread_refuses_before_a_stop_is_written() -> None:
    with lobby_of(begins=False) as lobby:
        client = lobby.connect()
        client.sendall(request_of("/v1/a"))
        terms = (0, time.monotonic() + 60, 0)
        assert lobby.front.stand(("GET", "/v1/a", None), ([b"going"], [b"last"]), terms)
        lobby.front.stop()
        lobby.begin()
        assert lobby.read(client, 999) == b"going"


def test_a_take_takes_so_many_and_rings_for_the_rest() -> None:
    with lobby_of(begins=False) as lobby:
        for number in range(3):
            lobby.connect().sendall(request_of(f"/v1/{number}"))
        lobby.front.stop()
        lobby.begin()
        lobby.stop()
        assert len(lobby.front.take(2)[0]) == 2
        assert not lobby.front.is_quiet
        assert is_readable(0, lobby.front.bell)
        assert len(lobby.front.take(2)[0]) == 1
        assert lobby.front.is_quiet
        assert not is_readable(0, lobby.front.bell)


def test_a_drain_while_no_file_is_left_does_not_keep_the_thread_awake() -> None:
    with lobby_of(begins=False) as lobby:
        lobby.connect()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            lobby.front.drain()
            lobby.begin()
            lobby.until(lambda: lobby.front.is_quiet)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        lobby.until(lobby.sleeps)


def test_what_nobody_reads_any_more_does_not_take_an_answer_back(lobby: Lobby) -> None:
    client = lobby.connect()
    client.sendall(request_of("/v1/a"))
    request = lobby.next()
    client.sendall(b"x" * 100_000)
    lobby.answer(request, b"yes", closes=True)
    assert lobby.read(client, 999) == written(b"yes")
