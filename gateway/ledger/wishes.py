"""The SQL of a merchant's wish to cancel, and of what keys were used for."""

from typing import Final

# The merchant wants the payment closed: from now on recovery closes it, whoever dies.  Only one
# cancellation is ever wished, and none once a capture was begun or the payment has ended.  The
# channel is about to be asked, so the lease is taken over from a query that is perhaps under way:
# that one moves nothing.
BEGIN_CANCEL: Final = """
WITH alive AS MATERIALIZED (
    SELECT merchant_id FROM payment
     WHERE merchant_id = $1 AND id = $5::uuid
       AND status IN ('processing', 'requires_action', 'requires_capture') FOR UPDATE
), free AS (
    SELECT merchant_id FROM attempt
     WHERE merchant_id = $1 AND id = $7 AND NOT cancel_wished AND capture_amount IS NULL
       AND NOT replaced AND EXISTS (SELECT FROM alive) FOR UPDATE
), claimed AS (
    INSERT INTO idempotency_key (merchant_id, key, fingerprint, operation, resource_id, created_at)
    SELECT merchant_id, $2, $3::bytea, $4, $5::uuid, $6::timestamptz FROM free
    ON CONFLICT (merchant_id, key) DO NOTHING
    RETURNING merchant_id
), hurried AS (
    UPDATE attempt SET cancel_wished = true, due_at = $8, leased_until = $8
     WHERE merchant_id = $1 AND id = $7 AND EXISTS (SELECT FROM claimed)
), asked AS (
    INSERT INTO remark (merchant_id, payment_id, at, kind, subject_id)
    SELECT merchant_id, $5, $6, 'cancel_asked', $7 FROM claimed
)
SELECT merchant_id FROM claimed
"""
HEARD: Final = """
SELECT fingerprint, operation, resource_id FROM idempotency_key WHERE merchant_id = $1 AND key = $2
"""
# For a request that changes nothing by itself, once it is served.
USED: Final = """
INSERT INTO idempotency_key (merchant_id, key, fingerprint, operation, resource_id, created_at)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (merchant_id, key) DO NOTHING
"""
