"""`python -m mlserver` is the command `mlserver`."""

from mlserver.cli import main

if __name__ == "__main__":
    main()
