"""Encoders of pictures and numbers for the pages; stages may call them."""
