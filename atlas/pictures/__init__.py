"""Encoders of pictures and numbers for the pages. Stages may call them."""
