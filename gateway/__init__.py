"""Floodgate: a durable payment gateway; flow/ tells the story of a payment."""
