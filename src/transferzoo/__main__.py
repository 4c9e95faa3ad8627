"""``python -m transferzoo``: the command line."""

from transferzoo.cli import main

if __name__ == "__main__":
    main()
