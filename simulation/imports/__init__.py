"""Traces of other tools as recorded runs."""
