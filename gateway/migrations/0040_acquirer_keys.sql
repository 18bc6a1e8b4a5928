-- By which keys an acquirer signs what it says to an account, as it told us itself: the background
-- worker asks now and then, because it changes them by itself.  Sealed like credentials.
CREATE TABLE acquirer_keys (
    merchant_id bigint      NOT NULL,
    channel     text        NOT NULL,
    account     text        NOT NULL,
    sealed      bytea       NOT NULL,
    told_at     timestamptz NOT NULL,
    PRIMARY KEY (merchant_id, channel, account)
);

GRANT SELECT, INSERT ON acquirer_keys TO floodgate_app;
GRANT UPDATE (sealed, told_at) ON acquirer_keys TO floodgate_app;
