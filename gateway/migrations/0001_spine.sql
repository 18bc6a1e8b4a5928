-- The spine: merchants and keys, payments and attempts, the ledger, the event feed.
--
-- The merchant's number is the first column of every key of a tenant table, ids are made by the
-- application, and there are no triggers, sequences or foreign keys on the hot path, so that the
-- same tables can be spread over a distributed PostgreSQL by that column.

-- Reference tables: small, rarely written, never in the same transaction as payments.

CREATE TABLE merchant (
    id             bigint      PRIMARY KEY,
    public_id      uuid        NOT NULL UNIQUE,
    name           text        NOT NULL,
    commission_bps integer     NOT NULL CHECK (commission_bps BETWEEN 0 AND 10000),
    created_at     timestamptz NOT NULL
);

CREATE TABLE api_key (
    merchant_id   bigint      NOT NULL,
    id            uuid        NOT NULL,
    algorithm     text        NOT NULL,
    secret_sealed bytea,
    public_key    text,
    created_at    timestamptz NOT NULL,
    revoked_at    timestamptz,
    PRIMARY KEY (merchant_id, id),
    CHECK ((secret_sealed IS NULL) <> (public_key IS NULL))
);

-- The public half of the master key: whoever may add a merchant seals its secret with it.
CREATE TABLE platform_key (
    public_key bytea       PRIMARY KEY,
    created_at timestamptz NOT NULL
);

-- Tenant tables.

CREATE TABLE idempotency_key (
    merchant_id bigint      NOT NULL,
    key         text        NOT NULL,
    fingerprint bytea       NOT NULL,
    operation   text        NOT NULL,
    resource_id uuid        NOT NULL,
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (merchant_id, key)
);

-- No column that changes is indexed, so that a change of state stays on its page (HOT).
CREATE TABLE payment (
    merchant_id       bigint      NOT NULL,
    id                uuid        NOT NULL,
    reference         text        NOT NULL,
    amount            bigint      NOT NULL CHECK (amount > 0),
    currency          text        NOT NULL,
    amount_authorized bigint      NOT NULL,
    amount_captured   bigint      NOT NULL,
    amount_refunded   bigint      NOT NULL,
    fee               bigint      NOT NULL CHECK (fee >= 0),
    commission_bps    integer     NOT NULL,
    capture           boolean     NOT NULL,
    status            text        NOT NULL,
    certainty         text,
    channel           text        NOT NULL,
    words             bytea       NOT NULL,
    payer             bytea,
    reply             bytea,
    version           integer     NOT NULL,
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL,
    expires_at        timestamptz NOT NULL,
    PRIMARY KEY (merchant_id, id),
    CONSTRAINT payment_reference UNIQUE (merchant_id, reference),
    CONSTRAINT payment_amounts CHECK (
        amount_refunded BETWEEN 0 AND amount_captured
        AND amount_captured BETWEEN 0 AND amount
        AND amount_authorized BETWEEN 0 AND amount
    )
) WITH (fillfactor = 75);

-- due_at is set while somebody must ask the channel again: the recovery queue.
CREATE TABLE attempt (
    merchant_id         bigint      NOT NULL,
    id                  uuid        NOT NULL,
    payment_id          uuid        NOT NULL,
    channel             text        NOT NULL,
    amount              bigint      NOT NULL CHECK (amount > 0),
    currency            text        NOT NULL,
    status              text        NOT NULL,
    channel_transaction text,
    code                text,
    sent_at             timestamptz NOT NULL,
    answered_at         timestamptz,
    expires_at          timestamptz NOT NULL,
    due_at              timestamptz,
    queries             integer     NOT NULL DEFAULT 0,
    PRIMARY KEY (merchant_id, id)
) WITH (fillfactor = 75);
CREATE INDEX attempt_of_payment ON attempt (merchant_id, payment_id);
CREATE INDEX attempt_due ON attempt (due_at) WHERE due_at IS NOT NULL;
CREATE UNIQUE INDEX attempt_channel_transaction
    ON attempt (merchant_id, channel, channel_transaction) WHERE channel_transaction IS NOT NULL;

-- What a channel said outside the first answer: to a query, in a notice.  Facts, never changed.
CREATE TABLE sighting (
    merchant_id bigint      NOT NULL,
    attempt_id  uuid        NOT NULL,
    seen_at     timestamptz NOT NULL,
    source      text        NOT NULL,
    verdict     text        NOT NULL,
    code        text,
    PRIMARY KEY (merchant_id, attempt_id, seen_at)
);

-- One row per movement with both sides, so an unbalanced journal cannot be written.  A journal's id
-- is its cause's id with the kind in the last hex digit, so a cause has each journal once.
CREATE TABLE transfer (
    merchant_id    bigint      NOT NULL,
    journal_id     uuid        NOT NULL,
    leg            smallint    NOT NULL,
    payment_id     uuid        NOT NULL,
    kind           smallint    NOT NULL,
    debit_account  bigint      NOT NULL,
    credit_account bigint      NOT NULL,
    amount         bigint      NOT NULL CHECK (amount > 0),
    currency       text        NOT NULL,
    created_at     timestamptz NOT NULL,
    PRIMARY KEY (merchant_id, journal_id, leg),
    CHECK (debit_account <> credit_account)
);

CREATE TABLE account (
    merchant_id    bigint NOT NULL,
    account        bigint NOT NULL,
    debits_posted  bigint NOT NULL,
    credits_posted bigint NOT NULL,
    PRIMARY KEY (merchant_id, account)
) WITH (fillfactor = 50);

-- The two sides of every transfer, as accountants read them.
CREATE VIEW entry AS
    SELECT merchant_id, journal_id, leg, 'debit' AS direction, payment_id, kind,
           debit_account AS account, credit_account AS counter_account,
           amount, currency, created_at
      FROM transfer
    UNION ALL
    SELECT merchant_id, journal_id, leg, 'credit', payment_id, kind,
           credit_account, debit_account, amount, currency, created_at
      FROM transfer;

-- The last sequence given out per merchant; its row lock makes sequence order commit order.
CREATE TABLE feed (
    merchant_id   bigint PRIMARY KEY,
    last_sequence bigint NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE event (
    merchant_id bigint      NOT NULL,
    sequence    bigint      NOT NULL,
    id          uuid        NOT NULL,
    type        text        NOT NULL,
    payment_id  uuid        NOT NULL,
    resource_id uuid        NOT NULL,
    version     integer     NOT NULL,
    created_at  timestamptz NOT NULL,
    data        bytea       NOT NULL,
    PRIMARY KEY (merchant_id, sequence)
);
CREATE INDEX event_of_payment ON event (merchant_id, payment_id);

-- The application's role can write journals and events once and never touch them again.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'floodgate_app') THEN
        CREATE ROLE floodgate_app LOGIN;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL; -- another migration made it at the same moment
END $$;

GRANT USAGE ON SCHEMA public TO floodgate_app;
GRANT SELECT, INSERT, UPDATE ON merchant, api_key, platform_key TO floodgate_app;
GRANT SELECT, INSERT, DELETE ON idempotency_key TO floodgate_app;
GRANT SELECT, INSERT, UPDATE ON payment, attempt, account, feed TO floodgate_app;
GRANT SELECT, INSERT ON sighting, transfer, event TO floodgate_app;
GRANT SELECT ON entry TO floodgate_app;
