"""Alipay on loopback: its own books and keys, and wrong on purpose where a case asks.

Signatures are checked and made with the independent package `python-alipay-sdk`, whose real client
is also driven against this server: it speaks as the provider does, and not only as we read.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qsl, urlencode

from aiohttp import web
from alipay import AliPay
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from gateway.channels.alipay.credential import AlipayCredential
from tests.contract.loopback import Acquirer

APP_ID, SELLER_ID = "2021000122671234", "2088102146225135"
BEIJING = timezone(timedelta(hours=8))
OURS, THEIRS = generate_private_key(65537, 2048), generate_private_key(65537, 2048)


def private_pem(key: RSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def public_pem(key: RSAPrivateKey) -> str:
    public = key.public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def client() -> AliPay:
    """The independent client as the merchant's side uses it."""
    return AliPay(
        appid=APP_ID,
        app_private_key_string=private_pem(OURS),
        alipay_public_key_string=public_pem(THEIRS),
    )


# The same package with the keys the other way round is the platform's side.
PEER = AliPay(
    appid=APP_ID,
    app_private_key_string=private_pem(THEIRS),
    alipay_public_key_string=public_pem(OURS),
)


def credential(base_url: str) -> AlipayCredential:
    return AlipayCredential(
        app_id=APP_ID,
        seller_id=SELLER_ID,
        private_key=private_pem(OURS),
        alipay_public_keys=(public_pem(THEIRS),),
        base_url=base_url,
    )


def is_ours(said: Mapping[str, str]) -> bool:
    """Tell whether a request is signed with our key, as the independent package sees it."""
    rest = sorted((name, value) for name, value in said.items() if name != "sign")
    base = "&".join(f"{name}={value}" for name, value in rest)
    return bool(PEER._verify(base, said["sign"]))


def answered(method: str, node: Mapping[str, Any]) -> bytes:
    """Write an answer as the platform does: signed over the node as it stands there."""
    text = json.dumps(node, ensure_ascii=False)
    name = method.replace(".", "_") + "_response"
    return f'{{"{name}":{text},"sign":"{PEER._sign(text)}"}}'.encode()


def noticed(**members: str) -> bytes:
    """Write a signed notice."""
    said = {
        "app_id": APP_ID,
        "seller_id": SELLER_ID,
        "charset": "utf-8",
        "version": "1.0",
        "notify_type": "trade_status_sync",
        "notify_time": datetime.now(BEIJING).strftime("%Y-%m-%d %H:%M:%S"),
    } | members
    base = "&".join(f"{name}={value}" for name, value in sorted(said.items()) if value)
    return urlencode(said | {"sign_type": "RSA2", "sign": PEER._sign(base)}).encode()


@dataclass
class Trade:
    """One trade in the platform's books."""

    asked: dict[str, Any]
    notify_url: str
    status: str = "WAIT_BUYER_PAY"
    paid_at: str = ""
    refunds: dict[str, str] = field(default_factory=dict)

    @property
    def number(self) -> str:
        return str(self.asked["out_trade_no"])

    def told(self) -> dict[str, Any]:
        said = {
            "code": "10000",
            "msg": "Success",
            "out_trade_no": self.number,
            "trade_no": f"20260501{self.number[-20:]}",
            "total_amount": self.asked["total_amount"],
            "trade_status": self.status,
        }
        return said | ({"send_pay_date": self.paid_at} if self.paid_at else {})


class Alipay(Acquirer):
    """The server; a create's subject is its script.

    What was done by a method is answered once its event in `gates` is set, where it has one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.gates: dict[str, asyncio.Event] = {}
        self.trades: dict[str, Trade] = {}
        self.shown: dict[str, Trade] = {}

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        query = dict(parse_qsl(request.query_string))
        said = query | dict(parse_qsl((await request.read()).decode(), keep_blank_values=True))
        if not is_ours(said):
            self.wrongly_signed += 1
            node = {"code": "40002", "sub_code": "isv.invalid-signature"}
            return web.Response(body=answered("error", node))
        content = json.loads(said["biz_content"])
        method = said["method"]
        verb = method.removeprefix("alipay.trade.")
        node = await self._serve(verb, content, said)
        if verb in self.gates:
            await self.gates[verb].wait()
        return web.Response(body=answered(method, node), content_type="text/html")

    async def _serve(
        self, method: str, content: dict[str, Any], said: Mapping[str, str]
    ) -> Mapping[str, Any]:
        if method in {"precreate", "pay"}:
            return await self._create(method, content, said.get("notify_url", ""))
        trade = self.trades.get(content["out_trade_no"])
        if trade is None or content.get("trade_no") not in {None, trade.told()["trade_no"]}:
            return failed("ACQ.TRADE_NOT_EXIST")
        match method:
            case "query":
                return trade.told()
            case "close" if trade.status == "TRADE_SUCCESS":
                return failed("ACQ.TRADE_STATUS_ERROR")
            case "close" | "cancel":
                trade.status, action = "TRADE_CLOSED", "refund" if trade.paid_at else "close"
                named = {"out_trade_no": trade.number, "trade_no": trade.told()["trade_no"]}
                return done(**named, action=action)
            case "refund":
                return await self._refund(trade, content)
        amount = trade.refunds.get(content["out_request_no"])
        if amount is None:
            return done()
        refund = {"out_request_no": content["out_request_no"], "refund_amount": amount}
        named = {"out_trade_no": trade.number, "trade_no": trade.told()["trade_no"]}
        return done(**refund, **named, refund_status="REFUND_SUCCESS")

    async def _create(
        self, method: str, content: dict[str, Any], notify_url: str
    ) -> Mapping[str, Any]:
        script, number = content["subject"], content["out_trade_no"]
        if script == "declined":
            return failed("ACQ.BUYER_BALANCE_NOT_ENOUGH")
        if script == "timeout_lost":
            await self.never.wait()
        known = self.trades.get(number)
        if known is not None and known.asked != content:
            return failed("ACQ.CONTEXT_INCONSISTENT")
        if known is not None and known.status == "TRADE_CLOSED":
            return failed("ACQ.TRADE_HAS_CLOSE")
        trade = known or Trade(content, notify_url)
        if method == "precreate":
            self.shown[number] = trade
            return done(out_trade_no=number, qr_code=f"https://qr.alipay.example/{number}")
        self.trades[number] = trade
        if script == "pending":
            return {"code": "10003", "msg": "order success pay inprocess", "out_trade_no": number}
        self.pay(trade)
        if script == "timeout_booked":
            await self.never.wait()
        if script == "error_booked":
            return {"code": "20000", "msg": "Service Unavailable", "sub_code": "aop.unknow-error"}
        return trade.told()

    async def _refund(self, trade: Trade, content: dict[str, Any]) -> Mapping[str, Any]:
        name, amount = content["out_request_no"], content["refund_amount"]
        if trade.asked["subject"] == "refund_fails":
            return failed("ACQ.TRADE_NOT_ALLOW_REFUND")
        new = name not in trade.refunds
        if new and trade.status == "TRADE_CLOSED":
            return failed("ACQ.TRADE_STATUS_ERROR")
        given = sum(cents(each) for each in trade.refunds.values())
        if new and given + cents(amount) > cents(trade.asked["total_amount"]):
            return failed("ACQ.REASON_TRADE_REFUND_FEE_ERR")
        trade.refunds[name] = amount
        if trade.asked["subject"] == "refund_unknown":
            return failed("ACQ.SYSTEM_ERROR")
        told = {"out_trade_no": trade.number, "trade_no": trade.told()["trade_no"]}
        return done(**told, fund_change="Y" if new else "N", refund_fee=amount)

    def pay(self, trade: Trade) -> None:
        """The payer pays; a code that he scanned becomes a trade by it."""
        self.trades.setdefault(trade.number, trade)
        trade.status = "TRADE_SUCCESS"
        trade.paid_at = datetime.now(BEIJING).strftime("%Y-%m-%d %H:%M:%S")

    def notify(self, trade: Trade, **changes: str) -> None:
        """Send a notice to where the create wanted it."""
        told = {name: str(value) for name, value in trade.told().items()}
        for left_out in ("code", "msg", "send_pay_date"):
            told.pop(left_out, None)
        told |= {"notify_id": f"n-{trade.number}", "gmt_payment": trade.paid_at}
        kind = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
        self.post(trade.notify_url, noticed(**told | changes), kind)


def done(**members: str) -> dict[str, str]:
    return {"code": "10000", "msg": "Success", **members}


def failed(word: str) -> dict[str, str]:
    return {"code": "40004", "msg": "Business Failed", "sub_code": word, "sub_msg": word}


def cents(yuan: str) -> int:
    whole, _, part = yuan.partition(".")
    return int(whole) * 100 + int(part)
