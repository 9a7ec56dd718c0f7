"""The values that a report is made of."""
