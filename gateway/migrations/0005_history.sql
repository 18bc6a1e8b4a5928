-- The whole history of a payment, and for how long the rest is kept.

-- What was asked and answered around a payment beside what its attempt and its sightings tell: the
-- merchant's wishes to capture and to cancel, what channels said to captures, closes and refunds,
-- and notices that were refused.  Facts for people, no part of the books.
CREATE TABLE remark (
    merchant_id bigint      NOT NULL,
    payment_id  uuid        NOT NULL,
    at          timestamptz NOT NULL,
    kind        text        NOT NULL,
    subject_id  uuid        NOT NULL,
    verdict     text,
    code        text,
    amount      bigint,
    PRIMARY KEY (merchant_id, payment_id, at, kind, subject_id)
);

-- The refused ones are forgotten soon.  It costs the others nothing: a notice that was served is no
-- HOT update as it is, because notice_unprocessed hangs on the same columns.
CREATE INDEX notice_refused ON notice (merchant_id, id) WHERE result LIKE 'refused%';

GRANT SELECT, INSERT ON remark TO floodgate_app;

-- Retention deletes what is old, and never a fact about money: payment, attempt, refund, transfer,
-- account and event have no DELETE.
GRANT DELETE ON notice, webhook_delivery, sighting, remark TO floodgate_app;
