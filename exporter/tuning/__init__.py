"""The search for a recipe that meets a budget."""
