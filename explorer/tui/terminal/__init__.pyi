from .driver import TerminalDriver as TerminalDriver
