"""Is there room for it?"""
