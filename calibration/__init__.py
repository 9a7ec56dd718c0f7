"""What the data say about ranges: feeds, mergeable statistics, range estimators."""
