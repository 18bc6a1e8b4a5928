-- What was paid beside a payment goes back by itself, where its merchant wants that.

-- Due until the merchant's policy was carried out; those that were there before are people's.
-- Reserved before the channel hears that it goes back.
ALTER TABLE further_transaction
    ADD COLUMN due_at          timestamptz,
    ADD COLUMN amount_refunded bigint NOT NULL DEFAULT 0,
    ADD CONSTRAINT further_refunded CHECK (amount_refunded BETWEEN 0 AND amount);
CREATE INDEX further_due ON further_transaction (due_at) WHERE due_at IS NOT NULL;

-- A refund gives back money of the payment itself, or of this further transaction.
ALTER TABLE refund ADD COLUMN further_id uuid;

GRANT UPDATE (due_at, amount_refunded) ON further_transaction TO floodgate_app;
