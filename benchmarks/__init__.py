"""What twinclock costs, against what else one would use; see ``benchmarks/README.md``."""
