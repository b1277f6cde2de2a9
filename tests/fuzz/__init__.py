"""Fuzzing: damaged dumps, damaged memory and damaged files, and what the tool may answer to them.

``python -m tests.fuzz --cases 20000 --seed N`` (``make fuzz``). Every case is a mutator, a base input and a seed, and
can be run again alone. A case may end in a valid snapshot, with honest errors where values are missing, or in exit
code 3 and one clear line; never in a traceback, a signal, a hang, or a control byte on the terminal.

``--only terminal --seconds 300`` (``make fuzz-terminal``) sends random bytes to the app itself, in a pseudo-terminal.
"""
