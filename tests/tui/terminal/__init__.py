"""The terminal the app runs in."""
