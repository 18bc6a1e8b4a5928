-- Routing and fees: what operators decide, version by version, and what each attempt was decided by.

-- How channels are chosen.  The highest version is in force; going back is one more version.
CREATE TABLE routing_config (
    version    integer     PRIMARY KEY,
    document   bytea       NOT NULL,
    note       text        NOT NULL,
    created_at timestamptz NOT NULL
);

-- What merchants pay us and we pay channels.  A plan of merchant 0 is everybody's; the past is never
-- written again, so a plan can only come into force later than now.
CREATE TABLE fee_plan (
    version      integer     PRIMARY KEY,
    merchant_id  bigint      NOT NULL,
    document     bytea       NOT NULL,
    effective_at timestamptz NOT NULL,
    created_at   timestamptz NOT NULL
);

-- How far each account of the chart had been debited, over all merchants, when a month began (as
-- first seen in it): a channel's fee may hang on the volume of the month.
CREATE TABLE volume_mark (
    account bigint NOT NULL,
    month   date   NOT NULL,
    debits  bigint NOT NULL,
    PRIMARY KEY (account, month)
);

-- Why this channel, in JSON as it was decided; on which terms; and whether another attempt of the
-- same payment took this one's place, because it provably had moved no money.
ALTER TABLE attempt
    ADD COLUMN decision bytea,
    ADD COLUMN terms    bytea,
    ADD COLUMN replaced boolean NOT NULL DEFAULT false;

GRANT SELECT, INSERT ON routing_config, fee_plan, volume_mark TO floodgate_app;
