"""Synthetic eyes with grades, and a mask for every kind of lesion."""
