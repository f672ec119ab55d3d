"""What attempts meet: a CPU that they share, and what is outside the process."""
