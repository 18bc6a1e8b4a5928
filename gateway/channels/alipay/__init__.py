"""Ask the outside world: the Alipay open platform."""
