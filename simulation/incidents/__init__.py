"""From incident to test: one task's story out of a journal, as small as it still is that story."""

from simulation.incidents.slicing import CannotSliceError, Slice, slice_journal

__all__ = ["CannotSliceError", "Slice", "slice_journal"]
