"""``python -m explorer``: the same as the ``nullfs-explorer`` command."""

from explorer.cli import main

if __name__ == "__main__":
    main()
