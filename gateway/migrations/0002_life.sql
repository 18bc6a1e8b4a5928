-- The whole life of a payment: partial captures, refunds, notices, and success that comes late.

ALTER TABLE merchant ADD COLUMN late_success text NOT NULL DEFAULT 'review'
    CHECK (late_success IN ('review', 'adopt', 'refund'));

-- What of the commission and of the channel's fee went back with refunds, so that all partial
-- refunds together return exactly the fee.
ALTER TABLE payment
    ADD COLUMN channel_fee          bigint NOT NULL DEFAULT 0,
    ADD COLUMN fee_refunded         bigint NOT NULL DEFAULT 0,
    ADD COLUMN channel_fee_refunded bigint NOT NULL DEFAULT 0,
    ADD CONSTRAINT payment_fees CHECK (
        fee_refunded BETWEEN 0 AND fee AND channel_fee_refunded BETWEEN 0 AND channel_fee
    );

-- Set before the channel hears of a capture, so that a crash leaves something to ask about.
ALTER TABLE attempt ADD COLUMN capture_amount bigint;

-- What the channel said first, kept for whoever reads the payment's history.
ALTER TABLE attempt ADD COLUMN first_verdict text, ADD COLUMN first_code text;

-- A second payment for the same attempt, which waits in suspense.
ALTER TABLE attempt ADD COLUMN second_transaction text;

-- The merchant's wish to cancel, so that recovery goes on where a dead worker stopped.
ALTER TABLE attempt ADD COLUMN cancel_wished boolean NOT NULL DEFAULT false;

CREATE TABLE refund (
    merchant_id         bigint      NOT NULL,
    id                  uuid        NOT NULL,
    payment_id          uuid        NOT NULL,
    attempt_id          uuid        NOT NULL,
    reference           text        NOT NULL,
    amount              bigint      NOT NULL CHECK (amount > 0),
    currency            text        NOT NULL,
    reason              text,
    channel             text        NOT NULL,
    status              text        NOT NULL,
    certainty           text,
    from_suspense       boolean     NOT NULL,
    commission_back     bigint      NOT NULL CHECK (commission_back >= 0),
    channel_fee_back    bigint      NOT NULL CHECK (channel_fee_back >= 0),
    channel_transaction text,
    code                text,
    reply               bytea,
    version             integer     NOT NULL,
    created_at          timestamptz NOT NULL,
    updated_at          timestamptz NOT NULL,
    due_at              timestamptz,
    queries             integer     NOT NULL DEFAULT 0,
    PRIMARY KEY (merchant_id, id),
    CONSTRAINT refund_reference UNIQUE (merchant_id, reference)
) WITH (fillfactor = 75);
CREATE INDEX refund_of_payment ON refund (merchant_id, payment_id);
CREATE INDEX refund_due ON refund (due_at) WHERE due_at IS NOT NULL;

-- Notices as they came, committed before they are read.  Whose they are is known only after they
-- are verified, so they lie with merchant 0, the platform.
CREATE TABLE notice (
    merchant_id  bigint      NOT NULL,
    id           uuid        NOT NULL,
    channel      text        NOT NULL,
    received_at  timestamptz NOT NULL,
    headers      bytea       NOT NULL,
    body         bytea       NOT NULL,
    processed_at timestamptz,
    result       text,
    PRIMARY KEY (merchant_id, id)
);
CREATE INDEX notice_unprocessed ON notice (received_at) WHERE processed_at IS NULL;

GRANT SELECT, INSERT, UPDATE ON refund TO floodgate_app;
GRANT SELECT, INSERT ON notice TO floodgate_app;
GRANT UPDATE (processed_at, result) ON notice TO floodgate_app;
