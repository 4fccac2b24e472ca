"""Synthetic eyes, graded, with a mask for every kind of lesion."""
