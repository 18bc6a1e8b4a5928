"""HTTP and HTML: decode, call, encode."""
