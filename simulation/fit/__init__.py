"""A scenario from a recording: arrivals, durations and failures of each group, in a file."""
