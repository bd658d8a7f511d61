"""Hardware words, each declared once."""
