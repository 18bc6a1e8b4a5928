-- Webhooks: who wants to hear of events, and what became of each delivery.
--
-- The event table is the outbox.  An endpoint walks along it with next_sequence, and a delivery row
-- is made, leased, in the moment in which an event is first sent; so what waits for a slow endpoint
-- costs nothing but the event itself.

-- A deleted endpoint keeps its row, without secrets, because deliveries and keys point at it.
CREATE TABLE webhook_endpoint (
    merchant_id           bigint      NOT NULL,
    id                    uuid        NOT NULL,
    url                   text        NOT NULL,
    events                text[]      NOT NULL,
    status                text        NOT NULL,
    secret_hidden         bytea       NOT NULL,
    previous_hidden       bytea,
    previous_secret_until timestamptz,
    next_sequence         bigint      NOT NULL,
    failures              integer     NOT NULL DEFAULT 0,
    failing_since         timestamptz,
    last_success_at       timestamptz,
    last_failure_at       timestamptz,
    paused_until          timestamptz,
    created_at            timestamptz NOT NULL,
    PRIMARY KEY (merchant_id, id),
    CONSTRAINT webhook_endpoint_status CHECK (status IN ('enabled', 'disabled', 'deleted'))
) WITH (fillfactor = 50);

-- due_at is set while somebody must deliver: the end of a lease, or the time of the next try.
CREATE TABLE webhook_delivery (
    merchant_id   bigint      NOT NULL,
    endpoint_id   uuid        NOT NULL,
    sequence      bigint      NOT NULL,
    status        text        NOT NULL,
    tries         integer     NOT NULL,
    due_at        timestamptz,
    last_tried_at timestamptz,
    last_status   integer,
    last_error    text,
    PRIMARY KEY (merchant_id, endpoint_id, sequence),
    CONSTRAINT webhook_delivery_status CHECK (
        status IN ('pending', 'delivered', 'dead') AND (status = 'pending') = (due_at IS NOT NULL)
    )
) WITH (fillfactor = 75);
CREATE INDEX webhook_delivery_due
    ON webhook_delivery (merchant_id, endpoint_id, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX webhook_delivery_dead
    ON webhook_delivery (merchant_id, endpoint_id, sequence) WHERE status = 'dead';

-- Finding events by time, for redelivery, is rare, and a B-tree would cost every payment something.
CREATE INDEX event_by_time ON event USING brin (created_at) WITH (pages_per_range = 32, autosummarize = on);

GRANT SELECT, INSERT, UPDATE ON webhook_endpoint, webhook_delivery TO floodgate_app;
