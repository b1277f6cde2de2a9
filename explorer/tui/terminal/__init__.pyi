from .driver import TerminalDriver as TerminalDriver
from .driver import own_driver as own_driver
from .keyboard import Keyboard as Keyboard
from .output import Output as Output
