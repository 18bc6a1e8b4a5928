"""Ask the outside world: WeChat Pay APIv3."""
