"""One precision, made and judged; and the contest that decides which is shipped."""
