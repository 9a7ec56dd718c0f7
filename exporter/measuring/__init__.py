"""Measuring an engine in fresh processes: one alone (`profile`), or two against each other (`compare`)."""
