"""From a file to pixels that a scorer takes."""
