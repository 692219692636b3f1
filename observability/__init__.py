"""What every room shares to be seen: settings, logs, the retry policy."""
