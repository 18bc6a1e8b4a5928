"""The story of a payment: the only place where the steps are strung together."""
