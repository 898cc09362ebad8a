"""``python -m pto``: the command line."""

from pto.cli.main import main

if __name__ == "__main__":
    main()
