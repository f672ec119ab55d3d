"""Questions to a recorded run: what would another setting have made of the same work?"""
