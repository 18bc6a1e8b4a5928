"""What the types of the API's nouns leave open, for the OpenAPI document: by noun and field.

Of these it is the flow that looks, or each item of a batch is looked at on its own.
"""

from collections.abc import Mapping
from typing import Any, Final

from gateway.domain import limits
from gateway.domain.money import EXPONENTS

_INSTANT: Final = {"type": "string", "format": "date-time"}
_CURRENCY: Final = {"type": "string", "enum": sorted(EXPONENTS)}
IDEMPOTENCY_KEY: Final = {"type": "string", "pattern": "^[!#-~]{1,255}$"}
CLOSER: Final[Mapping[tuple[str, str], Mapping[str, Any]]] = {
    ("ListPayments", "created_after"): _INSTANT,
    ("ListPayments", "created_before"): _INSTANT,
    ("ListPayments", "cursor"): {"type": "string", "pattern": "^pay_[0-9a-f]{32}$"},
    ("ListEntries", "cursor"): {
        "type": "string",
        "pattern": r"^[0-9a-f]{32}\.[0-9]{1,2}\.[01]$",
    },
    ("ListEntries", "payment"): {"type": "string", "pattern": "^pay_[0-9a-f]{32}$"},
    ("ListEntries", "account"): {
        "type": "string",
        "pattern": r"^[0-9]{4}(\.[a-z]+){0,2}\.[A-Z]{3}$",
        "example": "2201.CNY",
    },
    ("CreatePayment", "currency"): _CURRENCY,
    ("KeyedPayment", "currency"): _CURRENCY,
    ("KeyedPayment", "idempotency_key"): IDEMPOTENCY_KEY,
    ("CreatePayments", "payments"): {
        "type": "array",
        "minItems": 1,
        "maxItems": limits.BATCH_PAYMENTS_MAX,
        "items": {
            "description": "A KeyedPayment; what is none is refused among the results.",
            "anyOf": [{"$ref": "#/components/schemas/KeyedPayment"}, {}],
        },
    },
    ("BatchResults", "results"): {
        "type": "array",
        "items": {
            "oneOf": [
                {"$ref": "#/components/schemas/PaidItem"},
                {"$ref": "#/components/schemas/RefusedItem"},
            ]
        },
    },
    ("RefusedItem", "problem"): {"$ref": "#/components/schemas/Problem"},
}
