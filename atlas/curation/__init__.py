"""What an instructor adds to an atlas."""
