"""What the crypto channel makes of credentials and of a node's answers, fair ones and foul."""

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from gateway.channels.credential import CredentialWrong, read_credential
from gateway.channels.crypto.channel import CryptoChannel
from gateway.channels.crypto.credential import CryptoCredential
from gateway.channels.kinds import KINDS
from gateway.channels.port import CREDENTIAL_REFUSED, Ask, BillRefused, NoticeRefused, Verb
from gateway.domain.outcome import ANOTHER_NUMBER, Outcome, Verdict
from gateway.domain.wire import WireAnswer, WireRequest

NOW = datetime(2026, 11, 11, tzinfo=UTC)
NUMBER = "0199" + 28 * "a"
TOKEN = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
WORDS: dict[str, Any] = {
    "base_url": "https://node.example/v3/hunter2",
    "chain_id": 1,
    "token": TOKEN,
    "token_decimals": 18,
    "currency": "USD",
    "factory": "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
    "init_code_hash": "0x" + 32 * "ab",
    "confirmations": 12,
}
TOKENS = 10**18
QUERY = Ask(Verb.QUERY, NUMBER, 1999, "USD", channel_transaction="1:0x@1000")


def channel(**changes: Any) -> CryptoChannel:
    credential = read_credential(KINDS["crypto"], WORDS | changes)
    assert isinstance(credential, CryptoCredential)
    return CryptoChannel([credential], "https://us.example/notices/crypto")


def asked(ask: Ask = QUERY) -> list[dict[str, Any]]:
    request = channel().build(ask, NOW)
    assert isinstance(request, WireRequest)
    calls: list[dict[str, Any]] = json.loads(request.body)
    return calls


def log(units: int, **changes: Any) -> dict[str, Any]:
    topics = [topic or "0x" + 24 * "0" + 40 * "1" for topic in asked()[2]["params"][0]["topics"]]
    return {
        "address": TOKEN.lower(),
        "topics": topics,
        "data": f"0x{units:064x}",
        "blockNumber": "0x65",
        "transactionHash": "0x" + 32 * "cd",
        "logIndex": "0x0",
        "blockHash": "0x" + 32 * "ef",
    } | changes


def told(*results: Any, status: int = 200, shift: int = 0) -> Outcome:
    """What the channel reads out of these results of a query's calls."""
    replies = [
        {"jsonrpc": "2.0", "id": call["id"] + shift, "result": result}
        for call, result in zip(asked(), results, strict=False)
    ]
    return channel().read(QUERY, WireAnswer(status, {}, json.dumps(replies).encode()))


def told_of(*logs: Any, head: int = 200) -> Outcome:
    return told("0x1", hex(head), list(logs))


def test_transfers_are_asked_for_from_before_the_address_was_shown() -> None:
    chain, head, logs = asked()
    assert (chain["method"], head["method"]) == ("eth_chainId", "eth_blockNumber")
    assert logs["method"] == "eth_getLogs"
    wanted = logs["params"][0]
    assert (wanted["fromBlock"], wanted["toBlock"]) == (hex(1000 - 128), "latest")
    assert wanted["topics"][:2] == [
        "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef",
        None,
    ]


def test_amounts_beyond_64_bits_are_exact() -> None:
    paid = told_of(log(1999 * TOKENS // 100))
    assert (paid.verdict, paid.amount, paid.code) == (Verdict.SUCCEEDED, 1999, "paid")
    less = told_of(log(1999 * TOKENS // 100 - 1))
    assert (less.verdict, less.code) == (Verdict.PENDING, "paid_partly 19.989999999999999999")
    over = told_of(log(2**256 - 1))
    assert (over.verdict, over.amount) == (Verdict.SUCCEEDED, 1999)
    assert over.is_clean


def test_a_transfer_that_is_told_twice_or_taken_back_is_no_more_money() -> None:
    half = log(10 * TOKENS)
    assert told_of(half, half).code == "paid_partly 10"
    assert told_of(half, log(10 * TOKENS, removed=True, logIndex="0x1")).code == "paid_partly 10"
    assert told_of(half, log(10 * TOKENS, logIndex="0x1")).code == "paid_over 20"
    assert told_of(half, log(10 * TOKENS, transactionHash="0x" + 32 * "ce")).amount == 1999


@pytest.mark.parametrize(("head", "code"), [(111, "confirming 20"), (112, "paid_over 20")])
def test_so_many_confirmations_count_the_transfers_own_block(head: int, code: str) -> None:
    assert told_of(log(20 * TOKENS), head=head).code == code


@pytest.mark.parametrize(
    "changes",
    [
        {"address": "0x" + 40 * "1"},
        {"topics": []},
        {"topics": ["0x" + 64 * "0"] * 3},
        {"data": "0x"},
        {"data": "0x" + 62 * "0"},
        {"blockNumber": None},
        {"blockNumber": "101"},
        {"logIndex": "-0x1"},
        {"transactionHash": 7},
        {"blockNumber": "0x66"},  # the same transfer in another block
    ],
)
def test_an_event_that_was_not_asked_for_proves_nothing(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        told_of(log(20 * TOKENS), log(1, **changes))


@pytest.mark.parametrize(
    "results", [(), ("0x1",), ("0x1", "0xc8"), ("0x1", None, []), (None, "0xc8", []), (1, 200, [])]
)
def test_an_answer_with_a_gap_proves_nothing(results: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match=r"."):
        told(*results)


def test_answers_to_somebody_elses_questions_are_frozen() -> None:
    assert told("0x1", "0xc8", [], shift=1) == ANOTHER_NUMBER


def test_one_question_without_an_answer_is_none_at_all() -> None:
    replies = [{"id": call["id"], "result": "0x1"} for call in asked()]
    replies[2] = {"id": replies[2]["id"], "error": {"code": -32000, "message": "busy"}}
    answer = WireAnswer(200, {}, json.dumps(replies).encode())
    assert channel().read(QUERY, answer) == Outcome(code="rpc_-32000")


def test_a_contract_that_is_no_token_is_a_wrong_credential() -> None:
    order = msgspec.structs.replace(QUERY, verb=Verb.CREATE, channel_transaction=None)
    fault = {"jsonrpc": "2.0", "id": 1, "error": {"code": 3, "message": "execution reverted"}}
    refused = channel().read(order, WireAnswer(200, {}, json.dumps([fault]).encode()))
    assert (refused.verdict, refused.code) == (Verdict.FAILED, CREDENTIAL_REFUSED)


def test_refunds_are_made_by_hand_and_nothing_is_captured() -> None:
    refund = msgspec.structs.replace(QUERY, verb=Verb.REFUND, refund_number=NUMBER)
    refused = channel().build(refund, NOW)
    assert isinstance(refused, Outcome)
    assert refused.verdict is Verdict.FAILED
    capture = msgspec.structs.replace(QUERY, verb=Verb.CAPTURE)
    with pytest.raises(ValueError, match="at once"):
        channel().build(capture, NOW)


def test_nobody_sends_notices_or_bills() -> None:
    with pytest.raises(NoticeRefused, match="forged"):
        channel().read_notice({}, b"{}", NOW)
    with pytest.raises(BillRefused):
        channel().read_bill(b"")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"chain_id": 0}, "chain_id"),
        ({"chain_id": 10**12}, "chain_id"),
        ({"token": TOKEN.replace("A", "a")}, "token"),
        ({"token": "USDC"}, "token"),
        ({"factory": "0x"}, "factory"),
        ({"init_code_hash": "0x"}, "init_code_hash"),
        ({"currency": "usd"}, "currency"),
        ({"currency": "XYZ"}, "currency"),
        ({"token_decimals": 1}, "token_decimals"),
        ({"token_decimals": -1}, "token_decimals"),
        ({"confirmations": 0}, "confirmations"),
        ({"base_url": "http://node.example"}, "base_url"),
        ({"private_key": "hunter2"}, "private_key"),
    ],
)
def test_a_credential_that_cannot_be_meant_is_refused_by_name(
    changes: dict[str, Any], named: str
) -> None:
    with pytest.raises(CredentialWrong, match=named) as refusal:
        channel(**changes)
    assert "hunter2" not in str(refusal.value)


def test_an_account_is_what_the_addresses_are_made_of() -> None:
    def account(**changes: Any) -> str:
        return read_credential(KINDS["crypto"], WORDS | changes).account

    assert account().startswith(f"1:{TOKEN}:")
    assert account(token=TOKEN.lower(), confirmations=3, base_url="https://b") == account()
    others = [
        account(**{name: WORDS[name].replace("ab", "cd")}) for name in ("init_code_hash",)
    ] + [account(chain_id=10**12 - 1), account(factory=TOKEN), account(token=WORDS["factory"])]
    assert len({account(), *others}) == 5
    assert "hunter2" not in repr(channel())
    assert len(account(chain_id=10**12 - 1)) == 64
