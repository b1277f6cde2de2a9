"""A snapshot as text for people, and as files for scripts."""
