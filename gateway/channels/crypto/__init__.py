"""The channel of stablecoins on an EVM chain: each attempt has a deposit address of its own."""
