"""Sockets, clocks and processes; no business words."""
