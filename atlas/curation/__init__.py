"""The words, pins and lessons that an instructor adds to an atlas."""
