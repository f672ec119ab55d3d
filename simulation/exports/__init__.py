"""A recorded run for other tools, a file each format."""
