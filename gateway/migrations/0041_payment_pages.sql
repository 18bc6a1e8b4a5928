-- A payment changes once or twice, soon after it was made.  Half of each page is kept free for it, so
-- that the new version lies beside the old one and no index hears of it (HOT).
ALTER TABLE payment SET (fillfactor = 50);
