"""Snapshots as JSON and JSON Lines, and back: loaders, writers, and the one check of a schema's version."""
