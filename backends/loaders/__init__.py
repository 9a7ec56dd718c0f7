"""Source code that opens one engine by the real names, types and shapes of its inputs and outputs, and checks it."""
