"""What lies on the desk of whoever serves a payment: one service per step."""

from msgspec import Struct

from gateway.admission.service import Admission
from gateway.channels.notices import NoticeBox
from gateway.channels.remarks import Remarks
from gateway.channels.service import Channels
from gateway.drivers.clock import Clock
from gateway.events.deliveries import Deliveries
from gateway.events.feed import Feed
from gateway.events.webhooks import Webhooks
from gateway.idempotency.service import Idempotency
from gateway.ledger.lists import Reader
from gateway.ledger.recovery import RecoveryQueue
from gateway.ledger.refunds import RefundLedger
from gateway.ledger.service import Ledger
from gateway.match.service import Match
from gateway.routing.service import Routing
from gateway.verify.service import Verify


class Desk(Struct, frozen=True):
    """The steps in the order in which a request meets them, and what they read from."""

    verify: Verify
    admission: Admission
    match: Match
    idempotency: Idempotency
    routing: Routing
    channels: Channels
    notices: NoticeBox
    remarks: Remarks
    ledger: Ledger
    refunds: RefundLedger
    recovery: RecoveryQueue
    reader: Reader
    feed: Feed
    webhooks: Webhooks
    deliveries: Deliveries
    clock: Clock
