"""Nouns and laws."""
