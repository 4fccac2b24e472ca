"""Agreement of scores with human grades: figures and ranks."""
