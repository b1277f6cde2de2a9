"""``make standalone``: one executable with Python, drgn, Textual, sample and plugins, for machines without Python."""
