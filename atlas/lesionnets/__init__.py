"""Nets that find lesions in a photograph, and name them."""
