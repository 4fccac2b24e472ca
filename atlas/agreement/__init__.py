"""Agreement of scores with people: figures, and ranks."""
