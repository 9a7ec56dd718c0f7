"""Networks that nobody wrote: drawn from a seed, block by block, exported and judged as the others of the zoo."""
