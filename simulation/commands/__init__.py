"""The commands of ``python -m simulation``, a file each."""
