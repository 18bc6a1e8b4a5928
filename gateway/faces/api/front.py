"""The front door: plain requests as a thread of ours reads them, served by the loop behind it.

The thread (`native.front`) owns the sockets that listen.  It hands over whole plain requests, many
at once where many came, and any connection on which something else came, which aiohttp serves from
there on.  So what is refused while the house is full costs the loop a look and no socket.
"""

import asyncio
import functools
import signal
import socket
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, Protocol

from gateway.admission.service import Refused
from gateway.domain import limits
from gateway.faces.api import standing
from gateway.faces.api.asked import BATCH, Asked, Asks
from gateway.faces.api.reply import Reply
from gateway.faces.api.standing import Standing
from native.front import Bounds, Front, Request

_PIECE_SECONDS: Final = 0.25
_TEND_SECONDS: Final = 0.002


class House(standing.House, Protocol):
    """What stands behind the front."""

    draining: bool

    def let_in(self) -> None:
        """Hear that a request was let in and has no seat yet."""
        ...

    def came(self) -> None:
        """Hear that a request which was let in is being served."""
        ...

    async def answer(self, asked: Asked) -> Reply:
        """Serve a request."""
        ...

    def take_over(self, read: bytes, left: Callable[[], None]) -> asyncio.Protocol:
        """Make the protocol of a connection of which these bytes were read already."""
        ...


class FrontDoor:
    """One worker's front door, open from the beginning until `close`."""

    def __init__(
        self, house: House, listening: Sequence[socket.socket], *, connections_max: int
    ) -> None:
        bounds = Bounds(
            connections_max=connections_max,
            body_bytes_max=limits.BODY_BYTES_MAX,
            batch=BATCH.encode(),
            batch_bytes_max=limits.BATCH_BODY_BYTES_MAX,
            idle_seconds=limits.IDLE_SECONDS_MAX,
            piece_seconds=_PIECE_SECONDS,
            linger_seconds=limits.LINGER_SECONDS,
        )
        for each in listening:
            each.settimeout(0)
        self._house = house
        self._loop = asyncio.get_running_loop()
        self._front = Front(tuple(each.detach() for each in listening), bounds)
        self._standing = Standing(self._front, house)
        self._tasks: set[asyncio.Task[None]] = set()
        self._handing: set[asyncio.Task[None]] = set()
        self._will_wake = self._will_tend = False
        self._quiet = asyncio.Event()
        self._loop.add_reader(self._front.bell, self._look)
        self._thread = threading.Thread(target=self._run, name="front", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        """Accept nothing more; whoever is served has his answer yet."""
        self._front.drain()
        await self._quiet.wait()

    async def hand_over(self) -> None:
        """Wait until aiohttp has every connection that was handed to it."""
        if self._handing:
            await asyncio.wait(self._handing)

    async def finish(self, seconds: float) -> None:
        """Let what is served end, and cut off what does not end in time; then all are gone."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        self._front.stop()
        await asyncio.to_thread(self._thread.join)
        self._standing.count()  # what the thread refused at last is counted, too
        self._loop.remove_reader(self._front.bell)

    def _run(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # they are the loop's
        self._front.run()

    def _look(self) -> None:
        """Take what came."""
        requests, handed = self._front.take()
        try:
            for file, read in handed:
                self._begin(self._hand_over(file, read), self._handing)
            if requests:
                self._meet(requests)
        finally:
            if self._front.is_quiet:
                self._quiet.set()

    def _tend(self) -> None:
        """Tell the thread of free seats while something stands, also when nobody comes."""
        self._will_tend = False
        if self._standing.tend():
            self._will_tend = True
            self._loop.call_later(_TEND_SECONDS, self._tend)

    def _meet(self, requests: list[Request]) -> None:
        """Refuse those for which there is no room, and serve the others.

        Nothing comes back meanwhile: where one was refused, all that ask for the same are.  But
        who was let through for a free seat has it, though seats that were lent came back since.
        """
        refused: dict[Asks, tuple[Refused, list[Request]]] = {}
        for request in requests:
            asks = request.asks
            alike = refused.get(asks)
            why = self._house.refusal(asks) if alike is None else alike[0]
            if why is None or (why.reason == "full" and request.has_leave):
                self._house.let_in()
                self._begin(self._serve(request, asks[2]), self._tasks)
            elif alike is None:
                refused[asks] = why, [request]
            else:
                alike[1].append(request)
        for asks, (why, turned) in refused.items():
            self._house.turned_away(asks, why, len(turned))
            forms = self._house.forms(why)
            self._front.refuse(turned, forms)
            self._standing.refuse(asks, why, forms, len(turned))
        self._standing.grant()
        if refused:
            self._front.wake()
        if self._standing and not self._will_tend:
            self._tend()

    def _begin(self, doing: Coroutine[Any, Any, None], among: set[asyncio.Task[None]]) -> None:
        task = self._loop.create_task(doing)
        among.add(task)
        task.add_done_callback(among.discard)

    async def _serve(self, request: Request, key_id: str | None) -> None:
        """Serve a request, whether its caller stays or goes."""
        self._house.came()
        try:
            reply = await self._house.answer(
                Asked(
                    method=request.method,
                    target=request.target,
                    headers=request.headers,
                    prefer=request.prefer,
                    came_at=request.came_at,
                    body=request.body,
                    kept_for=key_id,
                )
            )
            closes = self._house.draining or request.closes
            wire = reply.on_the_wire(closes=closes)
        except BaseException:
            self._answer(request, b"", closes=True)
            raise
        self._answer(request, wire, closes=closes)

    def _answer(self, request: Request, wire: bytes, *, closes: bool) -> None:
        """Answer; the thread is woken once for all that is answered in this turn of the loop."""
        self._front.answer(request, wire, closes)
        if not self._will_wake:
            self._will_wake = True
            self._loop.call_soon(self._wake)

    def _wake(self) -> None:
        self._will_wake = False
        self._front.wake()

    async def _hand_over(self, file: int, read: bytes) -> None:
        """Let aiohttp serve a connection from here on."""
        left = functools.cache(self._front.left)  # a place is given back once
        make = functools.partial(self._house.take_over, read, left)
        try:
            connection = socket.socket(fileno=file)
            try:
                await self._loop.connect_accepted_socket(make, connection)
            except BaseException:
                connection.close()
                raise
        except BaseException as error:
            left()
            if not isinstance(error, OSError):  # it ended meanwhile
                raise
