"""Planted scheduler bugs, and the proof that exploration finds each of them."""
