"""`python -m refacer`."""

from refacer.cli import main

if __name__ == "__main__":
    main()
