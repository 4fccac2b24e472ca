"""Salient patches: their clusters, and their layout in the plane."""
