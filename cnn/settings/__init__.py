"""What was asked for: settings from files and the command line."""
