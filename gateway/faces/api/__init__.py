"""The merchants' face."""
