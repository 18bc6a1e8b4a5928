"""Compiled hot spots (signature verification, route matching), each with a pure-Python twin."""
