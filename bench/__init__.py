"""How fast the tool is, against the limit (raw reads) and the usual way (a straightforward drgn script).

``python -m bench`` builds its own large targets with the lab of the tests, measures, and prints a table; ``make bench``
does so with what it needs. Ratios are those of one run: the machine's speed is in both halves of each.
"""
