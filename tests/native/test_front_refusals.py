"""What the front refuses: many at the word of the loop, or by itself while that word stands."""

import re
import time

import pytest
from front_kit import KEY, SIGNED, Lobby, is_readable, request_of, written


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
    assert not lobby.front.stand(CREATE, FORMS, (0, 0.0, 64))
