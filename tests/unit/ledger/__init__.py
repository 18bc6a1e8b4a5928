"""What does it mean in the books?"""
