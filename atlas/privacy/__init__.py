"""Private strings of a build, and the check that a finished site holds none of them."""
