-- The application may change the columns that do change, and no others.
--
-- The rest is named here; every other column that there is when this runs may be changed.  Whoever
-- adds a column that changes to one of these tables later also writes GRANT UPDATE (it) ON … TO
-- floodgate_app, and whoever adds one that does not names it in tests/integration/
-- test_permissions.py, which holds both.
DO $$
DECLARE
    fixed CONSTANT text[][] := ARRAY[
        ['payment', 'merchant_id id reference amount currency commission_bps capture words'
                    ' payer created_at expires_at'],
        ['attempt', 'merchant_id id payment_id channel account amount currency sent_at expires_at'
                    ' decision terms'],
        ['refund', 'merchant_id id payment_id attempt_id reference amount currency reason channel'
                   ' from_suspense commission_back channel_fee_back created_at'],
        ['account', 'merchant_id account'],
        ['feed', 'merchant_id'],
        ['webhook_endpoint', 'merchant_id id url events created_at'],
        ['webhook_delivery', 'merchant_id endpoint_id sequence'],
        ['merchant', 'id public_id load_test created_at'],
        ['api_key', 'merchant_id id algorithm secret_sealed public_key created_at'],
        ['platform_key', 'public_key created_at']];
    pair text[];
    changing text;
BEGIN
    FOREACH pair SLICE 1 IN ARRAY fixed LOOP
        EXECUTE format('REVOKE UPDATE ON %I FROM floodgate_app', pair[1]);
        SELECT string_agg(quote_ident(column_name), ', ') INTO changing
          FROM information_schema.columns
         WHERE table_schema = 'public' AND table_name = pair[1]
           AND column_name <> ALL (string_to_array(pair[2], ' '));
        IF changing IS NOT NULL THEN
            EXECUTE format('GRANT UPDATE (%s) ON %I TO floodgate_app', changing, pair[1]);
        END IF;
    END LOOP;
END $$;
