"""Recordings: many snapshots of one machine in one file. Works without a kernel, a terminal or a command line."""
