from .driver import TerminalDriver as TerminalDriver
from .keyboard import Keyboard as Keyboard
