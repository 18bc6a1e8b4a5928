"""A node over a real chain: eth-tester's machine and blocks, asked by JSON-RPC as geth is.

The chain carries a token that only tells of transfers, and a factory of deposit contracts.  Blocks
are mined when a test says so, or one before each batch (`mines`); a snapshot that is gone back to
and mined over is a reorganisation.
"""

import contextlib
import functools
import json
import sys
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from aiohttp import web

from gateway.channels.crypto.credential import CryptoCredential
from gateway.channels.crypto.deposits import keccak

# The machine lets the whole process recurse deeper as it is imported; how deep a body may be nested
# is ours to say, and tested.
_recursion = sys.getrecursionlimit()
from eth_tester import EthereumTester, PyEVMBackend  # noqa: E402 - as said

sys.setrecursionlimit(_recursion)

CHAIN_ID = 1337
FINALITY_BLOCKS = 2
TOKEN_DECIMALS = 6
_TRANSFER = keccak(b"Transfer(address,address,uint256)").hex()
# What the factory deploys: contracts whose code is a single STOP.
INIT_CODE = bytes.fromhex("6001600c60003960016000f300")


def token_code(decimals: int) -> bytes:
    """Four bytes of call data ask for the decimals; more are a transfer, which is told of."""
    asked = "36 60 04 14 60 %02x 57"
    transfer = f"60 24 35 60 00 52 60 04 35 33 7f {_TRANSFER} 60 20 60 00 a3 00"
    length = len(bytes.fromhex(asked % 0 + transfer))
    told = f"5b 60 {decimals:02x} 60 00 52 60 20 60 00 f3"
    return bytes.fromhex(asked % length + transfer + told)


def factory_code() -> bytes:
    """The call data is the salt under which `INIT_CODE` is deployed."""
    size = len(INIT_CODE)
    keep = f"{0x5F + size:02x} {INIT_CODE.hex()} 60 00 52"
    return bytes.fromhex(f"{keep} 60 00 35 60 {size:02x} 60 {32 - size:02x} 60 00 f5 00")


class Ground(NamedTuple):
    """A chain with a token and a factory on it, and the snapshot that everybody begins with."""

    chain: EthereumTester
    token: str
    factory: str
    snapshot: Any


@functools.cache
def ground() -> Ground:
    """Lay it once for all tests of a process: they go back to it one after the other."""
    chain = EthereumTester(PyEVMBackend())
    token, factory = deploy(chain, token_code(TOKEN_DECIMALS)), deploy(chain, factory_code())
    return Ground(chain, token, factory, chain.take_snapshot())


def deploy(chain: EthereumTester, code: bytes) -> str:
    """Put a contract of this code on the chain; gives its address."""
    init = bytes.fromhex(f"60{len(code):02x}80600b6000396000f3") + code
    sent = {"from": chain.get_accounts()[0], "data": "0x" + init.hex(), "gas": 1_000_000}
    receipt = chain.get_transaction_receipt(chain.send_transaction(sent))
    return str(receipt["contract_address"])


class Node:
    """One node with its chain, of which there is one at a time; `asked` keeps the batches."""

    def __init__(self, *, mines: bool = False) -> None:
        self.chain, self.token, self.factory, snapshot = ground()
        self.chain.revert_to_snapshot(snapshot)
        self.wallet = self.chain.get_accounts()[0]
        self.base_url = ""
        self.chain_id = CHAIN_ID
        self.mines = mines
        self.refusal: tuple[int, int] | None = None
        self.asked: list[list[str]] = []

    # The chain

    def call(self, to: str, data: str) -> None:
        sent = {"from": self.wallet, "to": to, "data": data, "gas": 200_000}
        receipt = self.chain.get_transaction_receipt(self.chain.send_transaction(sent))
        assert receipt["status"] == 1

    def send(self, address: str, units: int, token: str | None = None) -> None:
        """Transfer tokens in a block of their own."""
        self.call(token or self.token, f"0xa9059cbb{address[2:].rjust(64, '0')}{units:064x}")

    def mine(self, blocks: int = 1) -> None:
        self.chain.mine_blocks(blocks)

    def received(self, address: str) -> list[int]:
        """What came to an address, by the chain's own account."""
        topics = ["0x" + _TRANSFER, None, "0x" + address[2:].lower().rjust(64, "0")]
        logs = self.chain.get_logs(from_block=0, address=self.token, topics=topics)
        return [int(log["data"], 16) for log in logs]

    def credential(self, base_url: str | None = None, **changes: Any) -> CryptoCredential:
        return CryptoCredential(**self.words() | changes | {"base_url": base_url or self.base_url})

    def words(self) -> dict[str, Any]:
        return {
            "base_url": self.base_url,
            "chain_id": CHAIN_ID,
            "token": self.token,
            "token_decimals": TOKEN_DECIMALS,
            "currency": "CNY",
            "factory": self.factory,
            "init_code_hash": "0x" + keccak(INIT_CODE).hex(),
        }

    # The wire

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        calls = json.loads(await request.read())
        self.asked.append([call["method"] for call in calls])
        if self.mines:
            self.mine()
        if self.refusal is not None:
            status, code = self.refusal
            fault = {"code": code, "message": "limit exceeded"}
            return web.json_response({"jsonrpc": "2.0", "id": None, "error": fault}, status=status)
        # A batch may be answered in any order.
        return web.json_response([self._reply(call) for call in reversed(calls)])

    def _reply(self, call: dict[str, Any]) -> dict[str, Any]:
        reply = {"jsonrpc": "2.0", "id": call["id"]}
        try:
            return reply | {"result": self._answer(call["method"], call["params"])}
        except ValueError as error:
            return reply | {"error": {"code": -32602, "message": str(error)}}

    def _answer(self, method: str, params: list[Any]) -> Any:
        head: int = self.chain.get_block_by_number("latest")["number"]
        match method, params:
            case "eth_chainId", []:
                return hex(self.chain_id)
            case "eth_blockNumber", []:
                return hex(head)
            case "eth_feeHistory", ["0x1", "finalized", []]:
                final = max(0, head - FINALITY_BLOCKS)
                return {"oldestBlock": hex(final), "gasUsedRatio": [0], "baseFeePerGas": ["0x0"]}
            case "eth_call", [sent, "latest"]:
                return self.chain.call(sent | {"from": self.wallet, "gas": 100_000})
            case "eth_getLogs", [{"toBlock": "latest", "fromBlock": first} as wanted]:
                if int(first, 16) > head:
                    raise ValueError("invalid block range params")
                logs = self.chain.get_logs(
                    from_block=int(first, 16), address=wanted["address"], topics=wanted["topics"]
                )
                return [_log(log) for log in logs]
        raise ValueError("the method does not exist")


def _log(log: dict[str, Any]) -> dict[str, Any]:
    return {
        "address": log["address"].lower(),
        "topics": log["topics"],
        "data": log["data"],
        "blockNumber": hex(log["block_number"]),
        "blockHash": log["block_hash"],
        "transactionHash": log["transaction_hash"],
        "transactionIndex": hex(log["transaction_index"]),
        "logIndex": hex(log["log_index"]),
        "removed": False,
    }


@contextlib.asynccontextmanager
async def standing(*, mines: bool = False) -> AsyncIterator[Node]:
    """Let one stand on a free port."""
    node = Node(mines=mines)
    runner = web.ServerRunner(web.Server(node.serve, access_log=None))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        node.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield node
    finally:
        await runner.cleanup()
