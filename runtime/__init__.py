"""The worker pool: the scheduling core, the thread host, the journal."""
