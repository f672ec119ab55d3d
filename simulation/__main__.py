"""``python -m simulation``."""

from simulation.cli import main

if __name__ == "__main__":
    main()
