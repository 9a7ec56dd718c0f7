"""Files from elsewhere: one reader a format, which refuses what is damaged, endless or too large in one message."""
