"""The static site: pictures, pages, and the writing of them."""
