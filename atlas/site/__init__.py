"""The static site: its pictures, its pages, and the code that writes them."""
