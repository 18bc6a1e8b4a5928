-- Our contracts with acquirers: each channel's credentials, of the platform (merchant 0) or of one
-- merchant, sealed like the secrets of API keys.

-- `account` is the acquirer's own name of the account that the credential is for.  Several
-- credentials of one account live beside each other while a key is being changed.
CREATE TABLE channel_credential (
    merchant_id bigint      NOT NULL,
    id          uuid        NOT NULL,
    channel     text        NOT NULL,
    account     text        NOT NULL,
    label       text        NOT NULL,
    sealed      bytea       NOT NULL,
    not_after   timestamptz,
    created_at  timestamptz NOT NULL,
    revoked_at  timestamptz,
    PRIMARY KEY (merchant_id, id)
);

-- At which account an attempt was asked for, so that every later question goes there, whatever
-- credentials have come since.  NULL: the channel is configured by the settings and has no accounts.
ALTER TABLE attempt ADD COLUMN account text;

-- Whose address a notice came to: 0, or the merchant whose own account it must be about.
ALTER TABLE notice ADD COLUMN owner bigint NOT NULL DEFAULT 0;

GRANT SELECT, INSERT ON channel_credential TO floodgate_app;
GRANT UPDATE (revoked_at) ON channel_credential TO floodgate_app;
