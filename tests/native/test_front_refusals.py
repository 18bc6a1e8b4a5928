"""What the front refuses: many at the word of the loop, or by itself while that word stands."""

import re
import time

import pytest
from front_kit import KEY, SIGNED, Lobby, is_readable, request_of, told, written


def test_many_are_refused_alike_and_each_has_its_own_id(lobby: Lobby) -> None:
    going, last = [b"HTTP/1.1 503 ", b"-", b"!"], [b"last ", b"."]
    clients, turned = [lobby.connect() for _ in range(3)], []
    for client, closes in zip(clients, (False, True, False), strict=True):
        headers = ["Connection: close"] * closes
        client.sendall(request_of("/v1/a", b"", *headers))
        turned.append(lobby.next())
    lobby.front.refuse(turned, (going, last))
    lobby.front.wake()
    told = [lobby.read(clients[0], 63), lobby.read(clients[1], 99), lobby.read(clients[2], 63)]
    forms = (rb"HTTP/1.1 503 (\w{24})-\1!", rb"last (\w{24})\.", rb"HTTP/1.1 503 (\w{24})-\1!")
    found = [re.fullmatch(form, said) for form, said in zip(forms, told, strict=True)]
    assert len({each[1] for each in found if each is not None}) == 3
    lobby.front.refuse([], (going, last))
    with pytest.raises(RuntimeError):
        lobby.front.refuse(turned, (going, last))
    with pytest.raises(ValueError, match="too long"):
        lobby.front.refuse([], ([b"x" * 9000], last))


FORMS = ([b"HTTP/1.1 503 ", b"-", b"!"], [b"last ", b"."])
REFUSED = len(b"HTTP/1.1 503 -!") + 2 * 24
CREATE = ("POST", "/v1/payments", KEY)


def stands(lobby: Lobby, passes: int, seconds: float = 60.0, place: int = 0) -> None:
    lobby.front.grant(place, passes)
    assert lobby.front.stand(CREATE, FORMS, (place, time.monotonic() + seconds, 5))
    lobby.front.wake()
    # What stands is heeded before anything that comes later: this comes later.
    lobby.connect().sendall(request_of("/v1/before"))
    request = lobby.next()
    lobby.answer(request, b"")
    assert (request.target, request.has_leave) == ("/v1/before", False)


def test_what_stands_is_refused_by_the_thread_but_for_those_that_have_leave(lobby: Lobby) -> None:
    stands(lobby, 2)
    client = lobby.connect()
    wire = request_of("/v1/payments?a=b", b"{}", SIGNED)
    assert not lobby.front.was_needed(0)
    for number in (1, 2):
        client.sendall(wire)
        request = lobby.next()
        assert request.has_leave
        lobby.answer(request, b"%d" % number)
        assert lobby.read(client, len(written(b"1"))) == written(b"%d" % number)
    assert not lobby.front.was_needed(0)
    client.sendall(wire * 300)
    answers = lobby.read(client, 300 * REFUSED)
    ids = re.findall(rb"HTTP/1.1 503 ([0-9a-f]{24})-\1!", answers)
    assert len(set(ids)) == len(ids) == 300
    assert not lobby.requests
    assert (lobby.front.refused(), lobby.front.refused()) == ([(5, 300)], [])
    assert (lobby.front.was_needed(0), lobby.front.was_needed(0)) == (True, False)


def test_leave_is_given_for_those_under_way_too_and_can_be_taken_back(lobby: Lobby) -> None:
    stands(lobby, 3)
    wire = request_of("/v1/payments", b"{}", SIGNED)
    first, second = lobby.connect(), lobby.connect()
    first.sendall(wire)
    assert is_readable(10, lobby.front.bell)
    lobby.front.grant(0, 1)  # which is the one that came and was not taken
    second.sendall(wire)
    assert len(lobby.read(second, REFUSED)) == REFUSED
    lobby.front.grant(0, 1)
    second.sendall(wire)
    assert lobby.next().asks == CREATE
    for place in (-1, 8):
        with pytest.raises(ValueError, match="nothing stands"):
            lobby.front.grant(place, 1)
        with pytest.raises(ValueError, match="nothing stands"):
            lobby.front.was_needed(place)


def test_nobody_is_served_and_refused_nor_comes_beyond_what_was_granted(lobby: Lobby) -> None:
    """Thread and loop go on at once: every answer is the one to its own request, in order."""
    stands(lobby, 0)
    clients, many = [lobby.connect() for _ in range(4)], 200
    for number, client in enumerate(clients):
        wires = (request_of(f"/v1/payments?{number}.{at}", b"{}", SIGNED) for at in range(many))
        client.sendall(b"".join(wires))
    for client in clients:
        client.settimeout(0)
    heard, came, granted = [b""] * len(clients), [], 0
    while not all(said.count(b"HTTP/1.1 ") == many for said in heard):
        is_readable(10, lobby.front.bell, *clients)
        lobby.look()
        assert len(lobby.requests) <= granted
        for request in lobby.requests:
            came.append(request.target.partition("?")[2])
            lobby.answer(request, told(request))
        lobby.requests.clear()
        granted = len(came) % 4
        lobby.front.grant(0, granted)
        for number, client in enumerate(clients):
            if is_readable(0, client):
                heard[number] += client.recv(1 << 20)
    served = []
    for number, said in enumerate(heard):
        for at, answer in enumerate(said.split(b"HTTP/1.1 ")[1:]):
            if answer.startswith(b"200"):
                assert answer.endswith(b"\r\n\r\n/v1/payments?%d.%d {}" % (number, at))
                served.append(f"{number}.{at}")
            else:
                assert re.fullmatch(rb"503 ([0-9a-f]{24})-\1!", answer)
    assert sorted(served) == sorted(came)
    assert lobby.front.refused() == [(5, len(clients) * many - len(came))]


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


def test_what_stands_has_an_end_and_the_last_word_of_its_place_holds(lobby: Lobby) -> None:
    client, wire = lobby.connect(), request_of("/v1/payments", b"{}", SIGNED)
    for number in range(20):
        asks, place = ("POST", f"/v1/{number}", None), number % 7 + 1
        assert lobby.front.stand(asks, FORMS, (place, time.monotonic() + 60, 0))
    stands(lobby, 0, place=3)
    client.sendall(wire)
    assert len(lobby.read(client, REFUSED)) == REFUSED
    stands(lobby, 0, -1.0, place=3)
    client.sendall(wire)
    assert lobby.next().asks == CREATE


def test_what_waited_until_it_stands_no_more_is_not_refused(lobby: Lobby) -> None:
    """It was read while the refusal stood, and met when it did not any more."""
    client = lobby.connect()
    client.sendall(request_of("/v1/first") + request_of("/v1/payments", b"{}", SIGNED))
    first = lobby.next()
    stands(lobby, 0, 0.05)
    assert not is_readable(0.1, lobby.front.bell)
    lobby.answer(first, b"")
    assert lobby.next().asks == CREATE


def test_what_is_too_long_or_counted_nowhere_does_not_stand(lobby: Lobby) -> None:
    long = ("POST", "/v1/" + "a" * 300, None)
    terms = (0, time.monotonic() + 60, 0)
    assert not lobby.front.stand(long, FORMS, terms)
    assert not lobby.front.stand(CREATE, ([b"x" * 3000], [b""]), terms)
    assert not lobby.front.stand(CREATE, ([b"x"] * 5, [b""]), terms)
    for place, counted in ((0, 64), (8, 0), (-1, 0)):
        assert not lobby.front.stand(CREATE, FORMS, (place, 0.0, counted))
