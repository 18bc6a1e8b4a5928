-- Merchants that only test: their payments run the same code, through the scripted acquirer alone.
--
-- Said when a merchant is added and never changed, so that no tenant mixes money with play.  Their
-- books are proved like all others; whatever pays out or reports over merchants leaves them out.

ALTER TABLE merchant ADD COLUMN load_test boolean NOT NULL DEFAULT false;
