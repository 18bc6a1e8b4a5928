"""Through whom?"""
