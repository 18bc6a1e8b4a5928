"""Ask the outside world: one pure channel per acquirer, one courier that does the I/O."""
