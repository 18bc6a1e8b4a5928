-- What a merchant may ask of us: requests per second, requests at once, its part of a full house.
-- Where nothing is said there is no bound but what the others need.

ALTER TABLE merchant
    ADD COLUMN quota_per_second integer CHECK (quota_per_second > 0),
    ADD COLUMN quota_in_flight  integer CHECK (quota_in_flight > 0),
    ADD COLUMN quota_weight     integer NOT NULL DEFAULT 1 CHECK (quota_weight BETWEEN 1 AND 1000);
