"""Nouns and laws: pure, synchronous, without I/O."""
