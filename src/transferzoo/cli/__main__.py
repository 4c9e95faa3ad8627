"""`python -m transferzoo.cli`."""

from transferzoo.cli import main

main()
