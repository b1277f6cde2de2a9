"""From an open kernel to a snapshot. One module per kernel concept."""
