"""What a snapshot means. Pure functions over the model."""
