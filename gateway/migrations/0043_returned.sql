-- What was paid through the attempt was given back by the channel itself: by a close that crossed the
-- payer, or by hand.
ALTER TABLE attempt ADD COLUMN returned boolean NOT NULL DEFAULT false;
GRANT UPDATE (returned) ON attempt TO floodgate_app;
