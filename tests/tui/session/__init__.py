"""What is looked at, without a screen."""
