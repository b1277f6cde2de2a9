"""What is looked at: the child that reads a kernel, a recording that plays, and the log. No terminal is needed here."""
