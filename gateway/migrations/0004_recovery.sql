-- Recovery: one asker at a time, a pace per channel, looks after the end, and every further
-- transaction of an attempt.

-- Until then somebody asks the channel about the attempt, and nobody else does.
ALTER TABLE attempt ADD COLUMN leased_until timestamptz;

-- Its payment had ended, and what is due is a look whether money came after all.
ALTER TABLE attempt ADD COLUMN is_check boolean NOT NULL DEFAULT false;

-- What is open and what is only looked at are two queues of each channel, so that neither a slow
-- channel nor the looks after a flash sale hold up what is open.
DROP INDEX attempt_due;
CREATE INDEX attempt_due ON attempt (channel, due_at) WHERE due_at IS NOT NULL AND NOT is_check;
CREATE INDEX attempt_check ON attempt (channel, due_at) WHERE due_at IS NOT NULL AND is_check;
DROP INDEX refund_due;
CREATE INDEX refund_due ON refund (channel, due_at) WHERE due_at IS NOT NULL;

-- From next_at on a channel may be asked again, shared by all workers; it lies with merchant 0, the
-- platform.  `granted` is how many questions the last worker was given.
CREATE TABLE channel_pace (
    merchant_id bigint      NOT NULL,
    channel     text        NOT NULL,
    lane        text        NOT NULL,
    next_at     timestamptz NOT NULL,
    granted     integer     NOT NULL,
    PRIMARY KEY (merchant_id, channel, lane)
) WITH (fillfactor = 50);

-- Payments that a channel booked for an attempt beside its first one: each waits in suspense under
-- a journal of its own, whose cause is the id.
CREATE TABLE further_transaction (
    merchant_id         bigint      NOT NULL,
    payment_id          uuid        NOT NULL,
    attempt_id          uuid        NOT NULL,
    channel_transaction text        NOT NULL,
    channel             text        NOT NULL,
    id                  uuid        NOT NULL,
    amount              bigint      NOT NULL CHECK (amount > 0),
    currency            text        NOT NULL,
    booked_at           timestamptz NOT NULL,
    PRIMARY KEY (merchant_id, payment_id, attempt_id, channel_transaction),
    CONSTRAINT further_channel_transaction UNIQUE (merchant_id, channel, channel_transaction)
);

-- The one that there could be until now has the attempt itself as its cause.
INSERT INTO further_transaction (merchant_id, payment_id, attempt_id, channel_transaction, channel,
                                 id, amount, currency, booked_at)
SELECT a.merchant_id, a.payment_id, a.id, a.second_transaction, a.channel, a.id, t.amount,
       t.currency, t.created_at
  FROM attempt a
  JOIN transfer t ON t.merchant_id = a.merchant_id AND t.payment_id = a.payment_id
                 AND t.kind = 9 AND left(t.journal_id::text, 35) = left(a.id::text, 35)
 WHERE a.second_transaction IS NOT NULL;
ALTER TABLE attempt DROP COLUMN second_transaction;

GRANT SELECT, INSERT, UPDATE ON channel_pace TO floodgate_app;
GRANT SELECT, INSERT ON further_transaction TO floodgate_app;
