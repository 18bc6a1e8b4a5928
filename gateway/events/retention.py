"""How long it is kept what became of webhook deliveries; the events themselves stay for ever."""

from typing import Final

from gateway.domain import limits
from gateway.drivers.walking import walk_of

_DELIVERIES: Final = walk_of(
    "webhook_delivery",
    [("merchant_id", "bigint"), ("endpoint_id", "uuid"), ("sequence", "bigint")],
    "t.status <> 'pending' AND t.last_tried_at < $3",
    keep_days=limits.DELIVERY_KEEP_DAYS,
)
WALKS: Final = (_DELIVERIES,)
