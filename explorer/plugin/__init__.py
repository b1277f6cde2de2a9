"""What a plugin is, how plugins are found, and all that a plugin's author needs: one import line, from here.

Names are loaded when they are asked for, and none of them loads drgn: what reads a kernel imports it when it is called.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
