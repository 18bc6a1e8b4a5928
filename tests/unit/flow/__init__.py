"""The story of a payment, step by step, as far as it can be told without servers."""
