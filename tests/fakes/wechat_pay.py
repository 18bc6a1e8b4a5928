"""WeChat Pay on loopback: its own books, its own keys, and wrong on purpose where a case asks.

Every request's signature is checked with the independent package `wechatpayv3`, whose real client
is also driven against this server: it speaks as the provider does, and not only as we read.
"""

import base64
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, NamedTuple

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509 import CertificateBuilder, Name, NameAttribute, load_pem_x509_certificate
from cryptography.x509.oid import NameOID
from wechatpayv3 import utils as peer

from gateway.channels.wechat.credential import WechatCredential
from tests.contract.loopback import Acquirer

MCHID, APPID = "1900007291", "wx8888888888888888"
SERIAL, APIV3_KEY = "3775B6A45ACD588826D15E583A95F5DD", "0123456789abcdef0123456789ABCDEF"
PLATFORM_NAME = "PUB_KEY_ID_0119000072912026"
BEIJING = timezone(timedelta(hours=8))
OURS, THEIRS = generate_private_key(65537, 2048), generate_private_key(65537, 2048)
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')


def pem_of_ours() -> str:
    return OURS.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def pem_of_theirs() -> str:
    public = THEIRS.public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


class Certificate(NamedTuple):
    """One of the platform's certificates, with the key of its own that signs."""

    pem: str
    serial_no: str
    key: RSAPrivateKey

    def told(self, apiv3_key: str = APIV3_KEY) -> dict[str, Any]:
        certificate = load_pem_x509_certificate(self.pem.encode())
        box = sealed(self.pem, "certificate", apiv3_key)
        return {
            "serial_no": self.serial_no,
            "effective_time": certificate.not_valid_before_utc.isoformat(),
            "expire_time": certificate.not_valid_after_utc.isoformat(),
            "encrypt_certificate": box,
        }


def certificate(serial: int, *, begins: datetime, key: RSAPrivateKey = THEIRS) -> Certificate:
    """Issue a certificate for five years, as the platform does."""
    name = Name([NameAttribute(NameOID.COMMON_NAME, "Tenpay.com Root CA")])
    made = (
        CertificateBuilder(name, name, key.public_key(), serial)
        .not_valid_before(begins)
        .not_valid_after(begins + timedelta(days=5 * 365))
        .sign(key, SHA256())
    )
    return Certificate(made.public_bytes(Encoding.PEM).decode(), f"{serial:X}", key)


def credential(base_url: str) -> WechatCredential:
    return WechatCredential(
        mchid=MCHID,
        appid=APPID,
        serial_no=SERIAL,
        private_key=pem_of_ours(),
        apiv3_key=APIV3_KEY,
        platform_keys={PLATFORM_NAME: pem_of_theirs()},
        base_url=base_url,
    )


def signed_headers(
    body: str, *, at: int | None = None, by: Certificate | None = None
) -> dict[str, str]:
    """Sign an answer or a notice as the platform does, by its public key or by a certificate."""
    timestamp, nonce = str(at if at is not None else int(time.time())), "5K8264ILTKCH16CQ2502SI8Z"
    return {
        "Wechatpay-Timestamp": timestamp,
        "Wechatpay-Nonce": nonce,
        "Wechatpay-Serial": PLATFORM_NAME if by is None else by.serial_no,
        "Wechatpay-Signature-Type": "WECHATPAY2-SHA256-RSA2048",
        "Wechatpay-Signature": peer.rsa_sign(
            THEIRS if by is None else by.key, f"{timestamp}\n{nonce}\n{body}\n"
        ),
    }


def sealed(
    plain: Mapping[str, Any] | str, kind: str = "transaction", apiv3_key: str = APIV3_KEY
) -> dict[str, str]:
    nonce, data = "fdasflkja484", kind.encode()
    text = plain if isinstance(plain, str) else json.dumps(plain)
    box = AESGCM(apiv3_key.encode()).encrypt(nonce.encode(), text.encode(), data)
    return {
        "algorithm": "AEAD_AES_256_GCM",
        "ciphertext": base64.b64encode(box).decode(),
        "nonce": nonce,
        "associated_data": data.decode(),
        "original_type": kind,
    }


@dataclass
class Order:
    """One order in the platform's books."""

    asked: dict[str, Any]
    state: str = "NOTPAY"
    paid_at: str = ""
    refunds: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def number(self) -> str:
        return str(self.asked["out_trade_no"])

    @property
    def total(self) -> int:
        return int(self.asked["amount"]["total"])

    def told(self) -> dict[str, Any]:
        said = {
            "appid": APPID,
            "mchid": MCHID,
            "out_trade_no": self.number,
            "trade_state": self.state,
            "trade_state_desc": self.state,
        }
        if self.state == "SUCCESS":
            said["transaction_id"] = f"42000{self.number[-20:]}"
            said["success_time"] = self.paid_at
            said["amount"] = {"total": self.total, "payer_total": self.total, "currency": "CNY"}
        return said


class WechatPay(Acquirer):
    """The server; a create's `openid` (or its description, for flows without one) is its script.

    It signs by its public key, or by the first of its certificates where it has some.
    """

    def __init__(self, *certificates: Certificate) -> None:
        super().__init__()
        self.certificates = list(certificates)
        self.orders: dict[str, Order] = {}

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = (await request.read()).decode()
        if not self._is_ours(request, body):
            self.wrongly_signed += 1
            return self._answer(401, {"code": "SIGN_ERROR", "message": "sign"})
        path = request.path
        if path == "/v3/certificates":
            return self._answer(200, {"data": [each.told() for each in self.certificates]})
        if path.startswith("/v3/refund/"):
            return await self._refunds(request, body)
        if request.method == "POST" and not path.endswith("/close"):
            return await self._create(json.loads(body), path.rpartition("/")[2])
        order = self.orders.get(path.removesuffix("/close").rpartition("/")[2])
        if order is None:
            return self._answer(404, {"code": "ORDER_NOT_EXIST", "message": "none"})
        return self._answer(200, order.told()) if request.method == "GET" else self._close(order)

    def _close(self, order: Order) -> web.Response:
        if order.state == "SUCCESS":
            return self._answer(400, {"code": "ORDERPAID", "message": "paid"})
        order.state = "CLOSED"
        return self._answer(204, None)

    def _is_ours(self, request: web.BaseRequest, body: str) -> bool:
        """Sign the same lines with the independent package and compare: RSA v1.5 is exact."""
        said = dict(_PARAMETER.findall(request.headers.get("Authorization", "")))
        target = f"{request.method}\n{request.raw_path}"
        lines = f"{target}\n{said.get('timestamp')}\n{said.get('nonce_str')}\n{body}\n"
        fits = said.get("signature") == peer.rsa_sign(OURS, lines)
        return fits and (said["mchid"], said["serial_no"]) == (MCHID, SERIAL)

    async def _create(self, asked: dict[str, Any], flow: str) -> web.StreamResponse:
        script = asked.get("payer", {}).get("openid") or asked["description"]
        if script == "declined":
            return self._answer(403, {"code": "NO_AUTH", "message": "no"})
        if script == "timeout_lost":
            await self.never.wait()
        known = self.orders.get(asked["out_trade_no"])
        if known is not None and known.asked != asked:
            return self._answer(403, {"code": "OUT_TRADE_NO_USED", "message": "used"})
        if known is not None and known.state == "CLOSED":
            return self._answer(400, {"code": "ORDER_CLOSED", "message": "closed"})
        order = self.orders.setdefault(asked["out_trade_no"], Order(asked))
        if script in {"timeout_booked", "error_booked"}:
            self.book(order)
            if script == "error_booked":
                return self._answer(500, {"code": "SYSTEM_ERROR", "message": "busy"})
            await self.never.wait()
        self._play(script, order)
        shown = {"native": "code_url", "jsapi": "prepay_id", "h5": "h5_url"}[flow]
        return self._answer(200, {shown: f"weixin://{order.number}"})

    def _play(self, script: str, order: Order) -> None:
        if script in {"pending", "duplicate_notice"}:
            self.book(order)
            for _ in range(3 if script == "duplicate_notice" else 1):
                self.notify(order)
        elif script == "wrong_amount_notice":
            self.notify(order, told=self._as_paid(order, order.total + 1))
        elif script == "forged_notice":
            self.notify(order, told=self._as_paid(order, order.total), forged=True)

    def _as_paid(self, order: Order, total: int) -> dict[str, Any]:
        other = Order(order.asked | {"amount": {"total": total, "currency": "CNY"}}, "SUCCESS")
        other.paid_at = datetime.now(BEIJING).isoformat(timespec="seconds")
        return other.told()

    def book(self, order: Order) -> None:
        """The payer pays."""
        if order.state == "NOTPAY":
            order.state = "SUCCESS"
            order.paid_at = datetime.now(BEIJING).isoformat(timespec="seconds")

    def notify(
        self, order: Order, *, told: Mapping[str, Any] | None = None, forged: bool = False
    ) -> None:
        """Send a notice to where the create wanted it."""
        message = {
            "id": f"EV-{order.number}",
            "create_time": datetime.now(UTC).isoformat(timespec="seconds"),
            "event_type": "TRANSACTION.SUCCESS",
            "resource_type": "encrypt-resource",
            "resource": sealed(told if told is not None else order.told()),
        }
        body = json.dumps(message)
        headers = self._signed(body)
        if forged:
            headers["Wechatpay-Signature"] = "WECHATPAY/SIGNTEST/" + headers["Wechatpay-Signature"]
        kind = {"Content-Type": "application/json"}
        self.post(order.asked["notify_url"], body.encode(), {**headers, **kind})

    def _number_of(self, transaction: str) -> str:
        return next(number for number in self.orders if transaction.endswith(number[-20:]))

    async def _refunds(self, request: web.BaseRequest, body: str) -> web.StreamResponse:
        if request.method == "GET":
            name = request.path.rpartition("/")[2]
            made = [o.refunds[name] for o in self.orders.values() if name in o.refunds]
            if not made:
                return self._answer(404, {"code": "RESOURCE_NOT_EXISTS", "message": "none"})
            return self._answer(200, made[0])
        asked = json.loads(body)
        order = self.orders[asked.get("out_trade_no") or self._number_of(asked["transaction_id"])]
        script = order.asked.get("payer", {}).get("openid")
        name, part = asked["out_refund_no"], asked["amount"]["refund"]
        made = [refund for refund in order.refunds.values() if refund["status"] != "CLOSED"]
        returned = sum(refund["amount"]["refund"] for refund in made)
        if name not in order.refunds and (
            returned + part > order.total or asked["amount"]["total"] != order.total
        ):
            return self._answer(400, {"code": "INVALID_REQUEST", "message": "too much"})
        order.refunds.setdefault(
            name,
            {
                "refund_id": f"50000{name[-20:]}",
                "out_refund_no": name,
                "transaction_id": f"42000{order.number[-20:]}",
                "out_trade_no": order.number,
                "status": "CLOSED" if script == "refund_fails" else "SUCCESS",
                "success_time": datetime.now(BEIJING).isoformat(timespec="seconds"),
                "amount": {"total": order.total, "refund": part, "currency": "CNY"},
            },
        )
        if script == "refund_unknown":
            return self._answer(500, {"code": "SYSTEM_ERROR", "message": "busy"})
        return self._answer(200, order.refunds[name])

    def _signed(self, body: str) -> dict[str, str]:
        return signed_headers(body, by=self.certificates[0] if self.certificates else None)

    def _answer(self, status: int, said: Mapping[str, Any] | None) -> web.Response:
        body = json.dumps(said) if said is not None else ""
        headers = self._signed(body)
        if said is not None:
            headers["Content-Type"] = "application/json; charset=utf-8"
        return web.Response(status=status, text=None, body=body.encode(), headers=headers)
