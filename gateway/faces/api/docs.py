"""The page at `/docs` that a merchant reads first: plain HTML that needs nothing from elsewhere."""

import html
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from gateway.domain import limits
from gateway.domain.errors import PROBLEMS
from gateway.domain.stages import Operation
from gateway.events.rules import TRIES_MAX
from gateway.faces.api.answers import ANSWERS, PAYMENT_ID, REQUESTS, plain
from gateway.match.table import OPERATIONS

_STYLE: Final = """
:root{color-scheme:light dark;--ink:#1b2430;--soft:#5a6877;--line:#dfe5ec;--tint:#f4f7fa;
--blue:#0b5fa5;--green:#17703f;--red:#a3302c;--paper:#fff}
@media(prefers-color-scheme:dark){:root{--ink:#e3e9f0;--soft:#9aa9b9;--line:#2c3744;
--tint:#18212c;--blue:#6cb4f2;--green:#6cc795;--red:#f0918c;--paper:#10161e}}
*{box-sizing:border-box}
body{font:16px/1.6 system-ui,sans-serif;margin:0;color:var(--ink);background:var(--paper)}
.all{display:grid;grid-template-columns:13rem minmax(0,52rem);gap:3rem;max-width:72rem;
margin:0 auto;padding:2.5rem 1.5rem 6rem}
nav{position:sticky;top:2.5rem;align-self:start;font-size:15px}
nav b{display:block;font-size:18px;margin-bottom:.8rem}
nav a{display:block;color:var(--soft);text-decoration:none;padding:.15rem 0}
nav a:hover,a{color:var(--blue)}
h1{font-size:2.1rem;line-height:1.2;margin:0 0 .4rem}
h2{font-size:1.35rem;margin:3.2rem 0 .8rem;padding-top:1rem;border-top:1px solid var(--line)}
h3{font-size:1rem;margin:1.8rem 0 .4rem}
.lead{color:var(--soft);font-size:1.1rem;margin:0 0 1.5rem}
code,pre{font:13.5px/1.55 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
code{background:var(--tint);border-radius:4px;padding:.1em .3em}
pre{background:var(--tint);border:1px solid var(--line);border-radius:8px;padding:1rem 1.1rem;
overflow-x:auto;margin:.8rem 0}
pre code{padding:0;background:none}
table{border-collapse:collapse;width:100%;font-size:15px}
th,td{text-align:left;vertical-align:top;padding:.45rem .8rem .45rem 0;
border-bottom:1px solid var(--line)}
th{color:var(--soft);font-weight:600}
td code{white-space:nowrap}
.GET{color:var(--blue)}.POST{color:var(--green)}.DELETE{color:var(--red)}
.GET,.POST,.DELETE{font:600 13px/1.9 ui-monospace,monospace}
tr:target{background:var(--tint)}
.wide{overflow-x:auto}
@media(max-width:60rem){.all{display:block}nav{position:static;margin-bottom:2rem}
nav a{display:inline-block;margin-right:1rem}}
"""

_RECIPE: Final = r"""# The key that `floodgate merchant add` showed once.
KEY_ID=key_0123456789abcdef0123456789abcdef
SECRET=c2VjcmV0IG9mIHRoaXMgcGFnZSwgbm90IG9mIHlvdXJz

BODY='{"amount": 1999, "currency": "CNY", "reference": "order-4711",
       "method": {"type": "card", "token": "tok_ok"}}'
IDEMPOTENCY_KEY=order-4711

# What is signed: one line for each part of the request, the parameters last.
DIGEST="sha-256=:$(printf %s "$BODY" | openssl dgst -sha256 -binary | openssl base64 -A):"
COVERED='("@method" "@path" "content-digest" "idempotency-key")'
PARAMETERS="$COVERED;created=$(date +%s);keyid=\"$KEY_ID\""
BASE="\"@method\": POST
\"@path\": /v1/payments
\"content-digest\": $DIGEST
\"idempotency-key\": \"$IDEMPOTENCY_KEY\"
\"@signature-params\": $PARAMETERS"

HEX=$(printf %s "$SECRET" | openssl base64 -d -A | od -An -v -tx1 | tr -d ' \n')
SIGNATURE=$(printf %s "$BASE" \
  | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$HEX" -binary | openssl base64 -A)

curl -sS -i '@SERVER@/v1/payments' \
  -H 'Content-Type: application/json' \
  -H "Content-Digest: $DIGEST" \
  -H "Idempotency-Key: \"$IDEMPOTENCY_KEY\"" \
  -H "Signature-Input: sig1=$PARAMETERS" \
  -H "Signature: sig1=:$SIGNATURE:" \
  --data-binary "$BODY"
"""

_STATUSES: Final[Mapping[str, str]] = {
    "processing": "The channel is at work. <code>certainty</code> is <code>pending</code>, or "
    "<code>unknown</code> while the channel does not answer: it is asked again until it does.",
    "requires_action": "The payer has to act: <code>next_action</code> holds a QR code or a link.",
    "requires_capture": "The money is held for you until you capture or cancel.",
    "succeeded": "The money was taken. Refunds show in <code>amount_refunded</code>.",
    "failed": "Declined; <code>failure.advice</code> says what the payer may try.",
    "canceled": "Ended by you before any money was taken; or the channel gave it back by itself.",
    "expired": "Nobody paid before <code>expires_at</code>.",
    "requires_review": "The channel contradicts itself, or money came late; people look at it.",
}
_TOKENS: Final[Mapping[str, str]] = {
    "tok_ok": "succeeds",
    "tok_declined, tok_insufficient_funds, tok_expired_card": "fails",
    "tok_pending": "is processing, and succeeds a second later",
    "tok_timeout_booked": "is processing and unknown, until the channel is asked again: succeeds",
    "tok_timeout_lost": "is processing and unknown, and expires",
    "tok_refund_fails": "succeeds; its refunds fail",
    "tok_latency_250": "succeeds after 250 ms",
}
_SECTIONS: Final[Mapping[str, str]] = {
    "sign": "Your first payment",
    "signing": "Signing",
    "keys": "Idempotency",
    "calls": "Calls",
    "payment": "The payment",
    "webhooks": "Webhooks",
    "problems": "Problems",
}


def docs_page(version: str, server: str) -> str:
    """Write the whole page; `server` is the public base URL."""
    links = "".join(f'<a href="#{name}">{title}</a>' for name, title in _SECTIONS.items())
    recipe = html.escape(_RECIPE.replace("@SERVER@", server))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Floodgate API</title><style>{_STYLE}</style></head>"
        f'<body><div class="all"><nav><b>Floodgate</b>{links}'
        '<a href="/openapi.json">openapi.json</a></nav><main>'
        "<h1>The Floodgate API</h1>"
        f'<p class="lead">Version {html.escape(version)} at <code>{html.escape(server)}</code>. '
        "JSON in UTF-8, amounts as integers in minor units, times in UTC.</p>"
        f"{_heading('sign')}<p>Put in your key, paste this into a shell, and you have taken "
        "19.99 CNY. Paste it again: the answer is the same, <code>Idempotent-Replayed: true</code> "
        f"stands in its headers, and nothing moved twice.</p><pre><code>{recipe}</code></pre>"
        "<p><code>floodgate curl POST /v1/payments --body … --key-id … --secret …</code> writes "
        "such a command for you. Either way your machine's process list shows the secret while "
        "the command runs; a program keeps it to itself.</p>"
        f"{_SIGNING}{_KEYS}"
        f"{_heading('calls')}{_calls()}"
        f"{_heading('payment')}{_payment()}"
        f"{_WEBHOOKS}"
        f"{_heading('problems')}{_problems()}"
        "</main></div></body></html>"
    )


def _heading(name: str) -> str:
    return f'<h2 id="{name}">{_SECTIONS[name]}</h2>'


_SIGNING: Final = f"""{_heading("signing")}

<p>Every call is signed with HTTP Message Signatures (RFC 9421) and, when it has a body, carries a
<code>Content-Digest</code> (RFC 9530) with <code>sha-256</code>. The key decides the algorithm:
<code>hmac-sha256</code>, <code>ed25519</code> or <code>rsa-v1_5-sha256</code>. The recipe above
is for <code>hmac-sha256</code>; with a private key <code>openssl dgst -sha256 -sign
key.pem</code> (RSA) or <code>openssl pkeyutl -sign -rawin -inkey key.pem</code> (Ed25519) takes
its place.</p>
<div class="wide"><table>
<tr><th>cover</th><th>when</th></tr>
<tr><td><code>@method</code>, <code>@path</code></td><td>always</td></tr>
<tr><td><code>@query</code></td><td>the target has a query</td></tr>
<tr><td><code>content-digest</code></td><td>there is a body</td></tr>
<tr><td><code>idempotency-key</code></td><td>that header is there</td></tr></table></div>
<p><code>@target-uri</code> may stand in for <code>@path</code> and <code>@query</code>, and more
may be covered. <code>created</code> and <code>keyid</code> are required; <code>created</code>
must lie within 300 seconds of our clock. <code>expires</code>, <code>nonce</code>,
<code>tag</code> and <code>alg</code> are allowed, in any order and under any label.</p>
"""

_KEYS: Final = f"""{_heading("keys")}

<p>Every POST carries an <code>Idempotency-Key</code> of 1 to 255 visible ASCII characters. Sent
again with the same key, a request is answered as before, for at least a day, and nothing moves
twice. When an answer did not reach you, send the very same bytes again. The same key with another
path, query or body is refused with <code>idempotency_key_reused</code>. Your own order number,
the <code>reference</code>, is unique for ever.</p>
<p><code>POST /v1/payments/batch</code> takes up to 500 payments under one signature, in a body of
up to 512 KiB. Each item is the <code>POST /v1/payments</code> that it stands for, with its own
<code>idempotency_key</code> as its first or last member: sent again in another batch, or alone as
the same bytes without that member, it is answered as before. The results stand in your order, and
a refused item touches no other. While an item is refused with <code>request_in_progress</code>,
<code>rate_limited</code>, <code>overloaded</code>, <code>unavailable</code> or
<code>internal_error</code>, send the very same batch again: what was taken is answered as before
and the rest goes on. A batch that you change needs a new key of its own; its items keep theirs.</p>
"""

_TRY_DAYS: Final = sum(limits.WEBHOOK_TRY_WAIT_SECONDS) // (24 * 3600)
_WEBHOOKS: Final = f"""{_heading("webhooks")}

<p>Webhooks follow Standard Webhooks: <code>webhook-id</code>, <code>webhook-timestamp</code> and
<code>webhook-signature: v1,…</code>, the HMAC-SHA256 under your endpoint's secret
(<code>whsec_…</code>) of id, timestamp and body, joined by dots. Any library for Standard
Webhooks verifies them. Events may come twice or out of order: <code>data.sequence</code> counts
them without a gap, and <code>GET /v1/events?after=</code> reads again what you missed.</p>
<p>Answer with 2xx within {limits.WEBHOOK_ANSWER_SECONDS:.0f} seconds. Anything else, a redirect
too, is tried again: {TRIES_MAX} tries within some {_TRY_DAYS} days. An endpoint that keeps failing
is spared for up to five minutes at a time. Then the delivery is <code>dead</code>:
<code>GET /v1/webhook_endpoints/{{id}}/deliveries</code> shows what you answered, and
<code>POST …/redeliver</code> sends it again. <code>410</code> disables the endpoint until you
<code>POST …/enable</code>; then it goes on from where it stood.</p>
<p><code>payment.late_success</code> tells of money that came after the end of its payment, or
beside it, as when a payer pays twice. What came beside it is in
<code>GET /v1/payments/{{id}}/further_transactions</code>. If it goes back,
<code>further_refund.succeeded</code> tells so; the amounts of the payment have no part in it.</p>
"""


def _calls() -> str:
    rows = "".join(
        f'<tr><td class="{operation.method}">{operation.method}</td>'
        f"<td><code>{operation.path}</code></td><td>{html.escape(operation.summary)}.</td></tr>"
        for operation in OPERATIONS
    )
    return (
        f'<div class="wide"><table>{rows}</table></div>'
        "<p>Lists give <code>data</code> and <code>next_cursor</code>: send it as "
        "<code>cursor</code> (<code>after</code> for events) to read on, until it is null. "
        "A page of payments of one status may hold fewer than <code>limit</code>. "
        "Entries stand where their attempt or refund began: what is booked later comes in between, "
        "so follow the events to hear of it. "
        "Every answer carries a <code>Request-Id</code>. Ask with "
        "<code>Prefer: server-timing</code> and <code>Server-Timing</code> tells how long each "
        "step took, in ms.</p>"
    )


def _payment() -> str:
    create = next(operation for operation in OPERATIONS if operation.name == "create_payment")
    return (
        f"<p>A decline is no error: HTTP says whether we understood you, <code>status</code> what "
        f"became of the money.</p>{_example(create)}"
        f"<h3>status</h3>{_words(_STATUSES.items())}"
        f"<h3>Tokens of the simulated acquirer</h3>{_words(_TOKENS.items())}"
    )


def _example(operation: Operation) -> str:
    asked, told = plain(REQUESTS[operation.name]), plain(ANSWERS[operation.name].example)
    assert told["id"] == PAYMENT_ID
    return (
        f"<h3>{operation.method} {operation.path}</h3><pre><code>{_json(asked)}</code></pre>"
        f"<h3>{operation.success}</h3><pre><code>{_json(told)}</code></pre>"
    )


def _json(value: Any) -> str:
    return html.escape(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def _words(rows: Iterable[tuple[str, str]]) -> str:
    """Write a table of code words and what they mean; the meaning is HTML of ours."""
    lines = "".join(
        "<tr><td>"
        + " ".join(f"<code>{word}</code>" for word in words.split(", "))
        + f"</td><td>{meaning}</td></tr>"
        for words, meaning in rows
    )
    return f'<div class="wide"><table>{lines}</table></div>'


def _problems() -> str:
    advice = {
        "same_key": "mend it and send it with the same key",
        "new_key": "use a new key",
        "later": "the same, later",
        "never": "do not repeat it",
        # With these nothing was wrong that could be mended.
        "request_in_progress": "the same, in a moment",
        "internal_error": "the very same, with the same key",
    }
    rows = "".join(
        f'<tr id="problem-{code}"><td>{kind.status}</td><td><code>{code}</code></td>'
        f"<td>{html.escape(kind.title)}</td><td>{advice.get(code) or advice[kind.retry]}</td></tr>"
        for code, kind in sorted(PROBLEMS.items(), key=lambda item: (item[1].status, item[0]))
    )
    return (
        "<p>A refusal is <code>application/problem+json</code> (RFC 9457): <code>code</code> is "
        "for your program, <code>detail</code> for you, <code>param</code> names the field, and "
        "<code>retry</code> says how to send it again. After <code>internal_error</code> or when "
        "no answer came at all, send the same request with the same key.</p>"
        '<div class="wide"><table><tr><th>HTTP</th><th>code</th><th>what is wrong</th>'
        f"<th>what to do</th></tr>{rows}</table></div>"
    )
