"""Heard before?"""
