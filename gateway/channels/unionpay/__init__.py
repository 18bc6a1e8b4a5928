"""Ask the outside world: UnionPay's online platform, ACP 5.1."""
