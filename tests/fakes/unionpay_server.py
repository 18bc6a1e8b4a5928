"""UnionPay on loopback: its books, by order number; what a case asks for is set before it."""

from dataclasses import dataclass
from urllib.parse import parse_qsl

from aiohttp import web

from tests.contract.loopback import Acquirer
from tests.fakes.unionpay_platform import answered, is_ours, noticed, said


@dataclass
class Transaction:
    """A payment or a refund; `became` is empty while nobody has paid."""

    asked: dict[str, str]
    script: str
    became: str = ""

    def told(self) -> dict[str, str]:
        names = ("orderId", "txnTime", "txnAmt", "txnType")
        query_id = f"9518{int(self.asked['orderId'][:14], 16)}{self.asked['orderId'][-4:]}"
        kept = {name: self.asked[name] for name in names}
        return kept | {"queryId": query_id, "currencyCode": "156"}


class Unionpay(Acquirer):
    """The server; `script` is what happens to the transactions that are asked for next."""

    def __init__(self) -> None:
        super().__init__()
        self.script = "approved"
        self.kept: dict[str, Transaction] = {}

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        form = (await request.read()).decode()
        asked = dict(parse_qsl(form, keep_blank_values=True, strict_parsing=True))
        if not is_ours(asked):
            self.wrongly_signed += 1
            return _word(asked.get("orderId", ""), "11")
        name = asked["orderId"]
        if request.path.endswith("queryTrans.do"):
            return self._query(name)
        known = self.kept.get(name)
        if known is not None and known.asked["txnAmt"] != asked["txnAmt"]:
            return _word(name, "12")
        if asked["txnType"] == "01":
            return await self._order(asked, known)
        return self._back(asked, known)

    def _query(self, name: str) -> web.StreamResponse:
        kept = self.kept.get(name)
        if kept is None:
            return _word(name, "34")
        told = kept.told() if kept.became == "00" else {}
        return _word(name, "00", origRespCode=kept.became or "05", **told)

    async def _order(self, asked: dict[str, str], known: Transaction | None) -> web.StreamResponse:
        name, script = asked["orderId"], self.script
        if script == "declined":
            return _word(name, "10")
        if script == "timeout_lost":
            await self.never.wait()
        order = known or Transaction(asked, script)
        self.kept[name] = order
        match script:
            case "timeout_booked":
                order.became = "00"
                await self.never.wait()
            case "error_booked":
                order.became = "00"
                return web.Response(status=500)
            case "pending" | "duplicate_notice":
                order.became = "00"
                for _ in range(3 if script == "duplicate_notice" else 1):
                    self._tell(order, {})
            case "wrong_amount_notice":
                self._tell(order, {"txnAmt": str(int(asked["txnAmt"]) + 1)})
            case "forged_notice":
                self._tell(order, {}, forged=True)
        return _word(name, "00", tn=f"tn{name}")

    def pay(self, name: str) -> None:
        """Play the payer in the wallet."""
        self.kept[name].became = "00"

    def _back(self, asked: dict[str, str], known: Transaction | None) -> web.StreamResponse:
        name, order = asked["orderId"], self.kept[asked["reqReserved"]]
        if order.script == "refund_fails":
            return _word(name, "10")
        given = sum(int(t.asked["txnAmt"]) for t in self.refunds_of(order))
        if known is None and given + int(asked["txnAmt"]) > int(order.asked["txnAmt"]):
            return _word(name, "10")
        self.kept[name] = known or Transaction(asked, "", became="00")
        return web.Response(status=500) if order.script == "refund_unknown" else _word(name, "00")

    def refunds_of(self, order: Transaction) -> list[Transaction]:
        number = order.asked["orderId"]
        return [t for t in self.kept.values() if t.asked.get("reqReserved") == number]

    def _tell(self, order: Transaction, changes: dict[str, str], *, forged: bool = False) -> None:
        told = said(**order.told() | changes, respCode="00")
        if forged:
            told["respMsg"] = "altered"
        self.post(order.asked["backUrl"], noticed(told), {})


def _word(name: str, word: str, **more: str) -> web.Response:
    return web.Response(body=answered(said(**{"orderId": name, "respCode": word} | more)))
