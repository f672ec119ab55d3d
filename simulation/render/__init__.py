"""What the command line shows people: tables with rich."""
