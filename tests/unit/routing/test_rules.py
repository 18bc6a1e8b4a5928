"""Through whom a payment goes: tables that an operator could read, and laws of every decision."""

from collections import Counter
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.domain.outcome import Advice
from gateway.routing.config import Config, StoredConfig, faults
from gateway.routing.decision import Asked, Decision, Seen, decode, encode
from gateway.routing.policy import bins_of
from gateway.routing.rules import (
    Candidate,
    Card,
    Wish,
    card_of,
    decide,
    draw_of,
    is_settled,
    narrowed,
    objection,
    retries,
)
from tests.unit.nouns import NOON

CARDS = Candidate("cards", frozenset({"card"}), frozenset({"CNY", "USD"}))
AT_ONCE = replace(CARDS, holds=False)
SCRIPTED = Candidate(
    "scripted", frozenset({"card", "qr"}), None, for_trade=False, for_load_tests=True
)
MERCHANT = "mer_019dd3b9d20070008000000700000010"
ASKED = Asked(merchant=MERCHANT, method="card", currency="CNY", amount=10_000, at=NOON, draw=0)
A, B, C = "simulator", "simulator_b", "stripe"
WELL = (Seen(A), Seen(B), Seen(C))


def config(**words: Any) -> Config:
    made = msgspec.convert(words, Config)
    assert faults(made) == []
    return made


def decided(made: Config, asked: Asked = ASKED, seen: tuple[Seen, ...] = WELL) -> Decision:
    return decide(StoredConfig(1, made), bins_of(made), asked, seen)


def reasons(decision: Decision) -> dict[str, str | None]:
    return {one.channel: one.reason for one in decision.candidates}


@pytest.mark.parametrize(
    ("candidate", "wish", "word"),
    [
        (CARDS, Wish("card", "CNY"), None),
        (CARDS, Wish("qr", "CNY"), "method"),
        (CARDS, Wish("card", "JPY"), "currency"),
        (CARDS, Wish("card", "CNY", load_test=True), "purpose"),
        (SCRIPTED, Wish("card", "CNY"), "purpose"),
        (SCRIPTED, Wish("qr", "JPY", load_test=True), None),
        (CARDS, Wish("card", "CNY", hold=True), None),
        (AT_ONCE, Wish("card", "CNY", hold=True), "hold"),
        (AT_ONCE, Wish("card", "CNY"), None),
        (AT_ONCE, Wish("card", "JPY", hold=True), "currency"),
    ],
)
def test_what_a_channel_by_itself_objects_to(
    candidate: Candidate, wish: Wish, word: str | None
) -> None:
    assert objection(candidate, wish) == word


def test_without_a_document_the_first_that_can_serve_is_taken() -> None:
    decision = decided(Config(), seen=(Seen(C, "currency"), Seen(A), Seen(B)))
    assert (decision.chosen, decision.by) == (A, "order")
    assert reasons(decision) == {A: None, B: None, C: "currency"}
    alone = decided(Config(), seen=(Seen(C, "method"), Seen(B)))
    assert (alone.chosen, alone.by) == (B, "only")
    assert decided(Config(), seen=(Seen(A, "method"),)).chosen is None


# What our terms with channel A say, what is asked, and why A is out.
WINDOW = {"begins": NOON - timedelta(hours=1), "ends": NOON + timedelta(hours=1)}
OBJECTIONS: list[tuple[dict[str, Any], Asked, str | None]] = [
    ({"enabled": False}, ASKED, "off"),
    ({"merchants": [MERCHANT]}, ASKED, None),
    ({"merchants": [MERCHANT[:-1] + "f"]}, ASKED, "contract"),
    ({"methods": ["qr"]}, ASKED, "method"),
    ({"currencies": ["USD"]}, ASKED, "currency"),
    ({"amounts": {"CNY": {"max": 9_999}}}, ASKED, "amount"),
    ({"amounts": {"CNY": {"min": 10_001}}}, ASKED, "amount"),
    ({"amounts": {"CNY": {"min": 10_000, "max": 10_000}}}, ASKED, None),
    ({"amounts": {"USD": {"max": 1}}}, ASKED, None),
    ({"windows": [WINDOW]}, ASKED, "maintenance"),
    ({"windows": [WINDOW]}, replace(ASKED, at=NOON + timedelta(hours=1)), None),
    ({"windows": [WINDOW | {"banks": ["ABC"]}]}, ASKED, None),
    ({"windows": [WINDOW | {"banks": ["ABC"]}]}, replace(ASKED, bin="62284801"), "maintenance"),
    ({"windows": [WINDOW | {"banks": ["ICBC"]}]}, replace(ASKED, bin="62284801"), None),
]
BINS = [
    {"prefix": "6228", "issuer": "ICBC", "kind": "credit"},
    {"prefix": "622848", "issuer": "ABC", "kind": "debit"},
]


@pytest.mark.parametrize(("terms", "asked", "word"), OBJECTIONS)
def test_what_our_terms_object_to(terms: dict[str, Any], asked: Asked, word: str | None) -> None:
    decision = decided(config(channels={A: terms}, bins=BINS), asked)
    assert reasons(decision)[A] == word
    assert decision.chosen == (A if word is None else B)


@pytest.mark.parametrize(
    ("digits", "card"),
    [
        ("62284801", Card("ABC", "debit")),
        ("622848", Card("ABC", "debit")),
        ("622849", Card("ICBC", "credit")),
        ("555555", Card()),
        (None, Card()),
    ],
)
def test_the_longest_prefix_knows_the_card(digits: str | None, card: Card) -> None:
    assert card_of(bins_of(config(bins=BINS)), digits) == card


# Rules from first to last as "name verb channels condition=value…"; what is asked; who is taken.
RULES = """
big prefer simulator_b amount_min=10000      ; card CNY 10000  ; simulator_b
big prefer simulator_b amount_min=10001      ; card CNY 10000  ; simulator
usd deny simulator currencies=USD            ; card USD 500    ; simulator_b
usd deny simulator currencies=USD            ; card CNY 500    ; simulator
qr restrict stripe methods=qr                ; qr CNY 500      ; stripe
abc prefer stripe banks=ABC                  ; card CNY 500 622848 ; stripe
abc prefer stripe banks=ABC                  ; card CNY 500    ; simulator
debit deny simulator kinds=debit             ; card CNY 500 622848 ; simulator_b
debit deny simulator kinds=debit             ; card CNY 500 622849 ; simulator
ours restrict simulator_b merchants=ME       ; card CNY 500    ; simulator_b
one deny simulator | two deny simulator_b    ; card CNY 500    ; stripe
one restrict simulator | two deny simulator  ; card CNY 500    ; .
one prefer stripe | two prefer simulator_b   ; card CNY 500    ; stripe
one prefer stripe | two deny stripe          ; card CNY 500    ; simulator
"""


def rule(words: str) -> dict[str, Any]:
    name, verb, channel, *conditions = words.split()
    when: dict[str, Any] = {}
    for condition in conditions:
        part, value = condition.split("=")
        amount = part.startswith("amount")
        when |= {part: int(value)} if amount else {part: [value.replace("ME", MERCHANT)]}
        when |= {"currencies": ["CNY"]} if amount else {}
    return {"name": name, "then": verb, "channels": [channel], "when": when}


@pytest.mark.parametrize("line", RULES.strip().splitlines())
def test_rules(line: str) -> None:
    rules, asked, taken = (part.strip() for part in line.split(";"))
    method, currency, amount, *digits = asked.split()
    payment = replace(
        ASKED, method=method, currency=currency, amount=int(amount), bin=(digits or [None])[0]
    )
    made = config(rules=[rule(words) for words in rules.split("|")], bins=BINS)
    assert decided(made, payment).chosen == (None if taken == "." else taken)


def test_a_rule_that_rules_out_is_named() -> None:
    made = config(rules=[rule("one deny simulator"), rule("two restrict stripe")])
    assert reasons(decided(made)) == {A: "rule one", B: "rule two", C: None}


def test_weights_share_the_payments_out() -> None:
    made = config(
        strategy="weights", channels={A: {"weight": 70}, B: {"weight": 30}, C: {"weight": 0}}
    )
    draws = (draw_of(f"pay_{number}", 0) for number in range(2_000))
    taken = Counter(decided(made, replace(ASKED, draw=draw)).chosen for draw in draws)
    assert 1_300 < taken[A] < 1_500
    assert taken[C] == 0
    assert sum(taken.values()) == 2_000


# By score: what is known of A and B (good of answers, fee, latency), and who is better.
SCORES = [
    (Seen(A), Seen(B), A),
    (Seen(A, good=950, answers=1_000), Seen(B, good=970, answers=1_000), B),
    (Seen(A, good=950, answers=1_000), Seen(B, good=2, answers=2), A),  # two prove nothing
    (Seen(A, good=0, answers=2), Seen(B, good=900, answers=1_000), B),
    (Seen(A, fee=60), Seen(B, fee=38), B),
    (Seen(A, good=950, answers=1_000, fee=60), Seen(B, good=970, answers=1_000, fee=600), A),
    (Seen(A, latency=2_000), Seen(B, latency=100), B),
]


@pytest.mark.parametrize(("a", "b", "better"), SCORES)
def test_scores(a: Seen, b: Seen, better: str) -> None:
    decision = decided(config(strategy="score"), seen=(a, b))
    assert (decision.chosen, decision.by) == (better, "score")
    assert all(one.score is not None for one in decision.candidates)


# How A and B are, and who is taken: the last one is never switched off, a contract never exceeded.
STATES = [
    (Seen(A, health="sick"), Seen(B), B, {A: "sick", B: None}),
    (Seen(A, health="probe"), Seen(B), A, {A: None, B: None}),
    (Seen(A, full="quota"), Seen(B), B, {A: "quota", B: None}),
    (Seen(A, full="breaker"), Seen(B), B, {A: "breaker", B: None}),
    (Seen(A, health="sick"), Seen(B, health="sick"), A, {A: None, B: "sick"}),
    (Seen(A, full="breaker"), Seen(B, "method"), A, {A: None, B: "method"}),
    (Seen(A, full="quota"), Seen(B, health="sick"), B, {A: "quota", B: None}),
    (Seen(A, full="quota"), Seen(B, full="quota"), None, {A: "quota", B: "quota"}),
    (Seen(A, full="quota"), Seen(B, full="breaker"), B, {A: "quota", B: None}),
    (Seen(A, full="breaker"), Seen(B, health="sick"), B, {A: "breaker", B: None}),
    (Seen(A, full="breaker"), Seen(B, full="lane"), B, {A: "breaker", B: None}),
    (Seen(A, health="sick"), Seen(B, full="lane"), B, {A: "sick", B: None}),
    (Seen(A, full="lane"), Seen(B), B, {A: "lane", B: None}),
    (Seen(A, full="lane"), Seen(B, "tried"), A, {A: None, B: "tried"}),
]


@pytest.mark.parametrize(("a", "b", "taken", "why"), STATES)
def test_who_is_free(a: Seen, b: Seen, taken: str | None, why: dict[str, str | None]) -> None:
    decision = decided(Config(), seen=(a, b))
    assert decision.chosen == taken
    assert reasons(decision) == why


SEEN = st.builds(
    Seen,
    channel=st.just(""),
    objection=st.sampled_from([None, None, None, "method", "tried"]),
    health=st.sampled_from([None, None, "sick", "probe"]),
    full=st.sampled_from([None, None, None, "quota", "breaker", "lane"]),
    fee=st.integers(0, 500),
    good=st.integers(0, 100),
    answers=st.integers(100, 300),
    latency=st.integers(0, 3_000),
)
CONFIGS = st.builds(
    config,
    strategy=st.sampled_from(["order", "weights", "score"]),
    order=st.permutations([A, B, C]),
    channels=st.dictionaries(
        st.sampled_from([A, B, C]),
        st.fixed_dictionaries(
            {},
            optional={
                "enabled": st.booleans(),
                "weight": st.integers(0, 5),
                "amounts": st.just({"CNY": {"max": 5_000}}),
            },
        ),
    ),
    rules=st.lists(
        st.sampled_from(["deny", "restrict", "prefer"]).flatmap(
            lambda verb: st.sampled_from([A, B, C]).map(lambda name: (verb, name))
        ),
        max_size=3,
    ).map(lambda some: [rule(f"r{n} {verb} {name}") for n, (verb, name) in enumerate(some)]),
)
PAYMENTS = st.builds(
    replace, st.just(ASKED), amount=st.integers(1, 10_000), draw=st.integers(0, 2**64 - 1)
)


@given(CONFIGS, PAYMENTS, st.tuples(SEEN, SEEN, SEEN))
def test_whatever_is_configured_a_decision_is_sound(
    made: Config, asked: Asked, looks: tuple[Seen, ...]
) -> None:
    seen = tuple(replace(look, channel=name) for look, name in zip(looks, (A, B, C), strict=True))
    decision = decided(made, asked, seen)
    why = reasons(decision)
    assert sorted(why) == sorted([A, B, C]), "every candidate is told of"
    can_serve = {
        one.channel
        for one in seen
        if one.objection is None and why[one.channel] in {None, "sick", "quota", "breaker", "lane"}
    }
    unspent = {one.channel for one in seen if one.full != "quota"} & can_serve
    assert (decision.chosen is not None) == bool(unspent), "never nobody when somebody can serve"
    if decision.chosen is not None:
        assert decision.chosen in unspent, "never one that cannot serve"
        assert why[decision.chosen] is None
        well = {one.channel for one in seen if one.health != "sick" and one.full is None}
        assert decision.chosen in well or not well & can_serve
    told = encode(decision)
    assert decode(told) == decision
    again = decide(StoredConfig(1, made), bins_of(made), asked, decode(told).seen)
    assert encode(again) == told, "what was seen is enough to decide the same again, byte by byte"


@given(CONFIGS, PAYMENTS, st.tuples(SEEN, SEEN, SEEN), st.sampled_from(["card", "qr"]))
def test_what_never_speaks_of_such_payments_can_be_left_out(
    made: Config, asked: Asked, looks: tuple[Seen, ...], method: str
) -> None:
    more = [rule("m restrict stripe methods=qr"), rule("u deny simulator currencies=USD")]
    extra = tuple(config(rules=more).rules)
    made = replace(made, rules=(*extra, *made.rules), bins=tuple(config(bins=BINS).bins))
    seen = tuple(replace(look, channel=name) for look, name in zip(looks, (A, B, C), strict=True))
    asked = replace(asked, method=method)
    left = narrowed(made, replace(asked, amount=1, draw=0))
    assert not set(extra) <= set(left.rules)
    whole = decided(made, asked, seen)
    assert decide(StoredConfig(1, left), bins_of(made), asked, seen) == whole


@given(CONFIGS, PAYMENTS, PAYMENTS, st.lists(st.booleans(), min_size=3, max_size=3))
def test_where_a_case_is_settled_one_decision_serves_all(
    made: Config, one: Asked, other: Asked, able: list[bool]
) -> None:
    seen = tuple(
        Seen(name, None if can else "method") for name, can in zip((A, B, C), able, strict=True)
    )
    if is_settled(made, seen):
        assert decided(made, one, seen) == decided(made, other, seen)


def test_a_draw_hangs_on_the_payment_and_the_try_alone() -> None:
    assert draw_of("pay_1", 0) == draw_of("pay_1", 0)
    assert len({draw_of("pay_1", 0), draw_of("pay_1", 1), draw_of("pay_2", 0)}) == 3


@pytest.mark.parametrize(
    ("sent", "code", "advice", "again"),
    [
        (False, "channel_unavailable", Advice.RETRY_LATER, True),
        (True, "insufficient_funds", Advice.RETRY_LATER, False),
        (True, "issuer_away", Advice.NEVER, True),
        (True, "card_declined", Advice.OTHER_METHOD, True),
    ],
)
def test_after_which_ends_another_channel_is_tried(
    *, sent: bool, code: str, advice: Advice, again: bool
) -> None:
    made = config(retry={"codes": ["issuer_away"], "advices": ["other_method"]})
    assert retries(made, sent=sent, code=code, advice=advice) is again
    assert retries(Config(), sent=sent, code=code, advice=advice) is not sent


@pytest.mark.parametrize(
    "words",
    [
        {"order": ["mastercard"]},
        {"order": [A, A]},
        {"channels": {A: {"amounts": {"CNY": {"min": 2, "max": 1}}}}},
        {"channels": {A: {"currencies": ["XXX"]}}},
        {"channels": {A: {"merchants": ["mer_1"]}}},
        {"channels": {A: {"windows": [{"begins": NOON, "ends": NOON}]}}},
        {"rules": [rule("one deny simulator"), rule("one deny stripe")]},
        {"rules": [rule("one deny simulator") | {"when": {"amount_min": 5}}]},
        {"rules": [rule("one deny simulator amount_min=5 amount_max=4")]},
        {"bins": [BINS[0], BINS[0]]},
    ],
)
def test_what_a_document_cannot_mean(words: dict[str, Any]) -> None:
    assert len(faults(msgspec.convert(words, Config))) == 1


@pytest.mark.parametrize(
    "words",
    [
        {"stratgy": "order"},
        {"strategy": "best"},
        {"channels": {A: {"weight": 0.5}}},
        {"rules": [{"name": "one", "then": "deny", "channels": []}]},
        {"bins": [{"prefix": "622848123", "issuer": "ABC"}]},
        {"channels": {A: {"windows": [{"begins": "2026-11-11T00:00:00", "ends": NOON}]}}},
    ],
)
def test_what_is_no_document(words: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(words, Config)
