"""Stripe PaymentIntents as a channel: cards by token, holds, 3-D Secure, refunds, webhooks."""
