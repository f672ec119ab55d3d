"""A run as attempts on workers, and what that says of who was late and why."""
