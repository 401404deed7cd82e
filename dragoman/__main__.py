"""`python -m dragoman`, as torchrun needs it."""

from dragoman.cli import main

main()
