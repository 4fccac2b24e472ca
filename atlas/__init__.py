"""Turns graded medical photographs into a static teaching atlas."""
