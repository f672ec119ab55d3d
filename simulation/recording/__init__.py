"""What a journal tells of the work, and that work as a workload."""
