"""The yardstick: a bare aiohttp `web.Server` that decodes a JSON object and sends it back.

python -m bench.load.echo PORT
"""

import asyncio
import sys

import msgspec
import uvloop
from aiohttp import web

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


async def _echo(request: web.BaseRequest) -> web.Response:
    body = _encode(_decode(await request.read()))
    return web.Response(body=body, content_type="application/json")


async def _serve(port: int) -> None:
    server = web.Server(_echo, access_log=None)
    await asyncio.get_running_loop().create_server(server, "127.0.0.1", port, backlog=4096)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
