"""Turns the file of a photograph into pixels for a scorer."""
