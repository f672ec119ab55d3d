"""The virtual world: what ordinary code meets while it runs in a simulated pool.

Rules:

- A *strand* is one controlled flow of ordinary code: an attempt, or a thread that an attempt
  started. Of all strands of a pool only one runs at any moment, and it runs until it would block.
- A strand that would block drives the clock itself until somebody is due, and hands over to that
  strand directly. A *carrier* is what runs strands, one after the other: a thread, or a greenlet.
- Time, locks and threads are virtual for strands only. Whoever else calls what is patched reaches
  the originals.
"""
