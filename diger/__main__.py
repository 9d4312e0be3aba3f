"""`python -m diger`."""

from diger.cli import main

if __name__ == "__main__":
    main()
