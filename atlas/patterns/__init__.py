"""Salient patches, sorted into clusters and laid out in the plane."""
