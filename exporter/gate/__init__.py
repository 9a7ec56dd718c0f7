"""The gate: what a run is judged by, and where the verdicts go."""
