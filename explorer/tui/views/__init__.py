"""What the screens show, as plain data: no Textual in here, so that all of it is tested without a screen."""
