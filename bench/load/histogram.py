"""Latencies as counts in log-linear buckets, so that a long run needs no memory per request."""

from collections.abc import Iterable, Iterator

from msgspec import Struct, field

# Within each power of two there are 64 buckets, so a reading is wrong by at most 1.6 %.
_FINE_BITS = 6


class Histogram(Struct):
    """Counts of microseconds; histograms of several connections or processes can be added up."""

    counts: dict[int, int] = field(default_factory=dict)
    highest: int = 0
    total: int = 0

    def record(self, microseconds: int) -> None:
        """Count one latency."""
        microseconds = max(microseconds, 0)
        shift = max(microseconds.bit_length() - _FINE_BITS - 1, 0)
        bucket = (shift << _FINE_BITS) + (microseconds >> shift)
        self.counts[bucket] = self.counts.get(bucket, 0) + 1
        self.total += 1
        self.highest = max(self.highest, microseconds)

    def add(self, others: Iterable["Histogram"]) -> "Histogram":
        """Add others to this one and give it."""
        for other in others:
            for bucket, count in other.counts.items():
                self.counts[bucket] = self.counts.get(bucket, 0) + count
            self.total += other.total
            self.highest = max(self.highest, other.highest)
        return self

    def percentile(self, share: float) -> int:
        """Give the microseconds that this share (0.99) of the latencies did not exceed."""
        wanted, seen = share * self.total, 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            if seen >= wanted:
                return min(_upper(bucket), self.highest)
        return self.highest

    def points(self) -> Iterator[tuple[float, int]]:
        """Give every bucket's upper end in milliseconds, and its count."""
        return ((_upper(bucket) / 1000, count) for bucket, count in self.counts.items())


def _upper(bucket: int) -> int:
    """Give the highest latency that a bucket holds."""
    shift = max((bucket >> _FINE_BITS) - 1, 0)
    return (((bucket - (shift << _FINE_BITS)) + 1) << shift) - 1
