"""`python -m atlas`, for shells that do not find the command `atlas`."""

from atlas.cli import main

main()
