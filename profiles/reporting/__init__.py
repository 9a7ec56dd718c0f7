"""What was found, shown to people and programs: one page as plain data, and HTML, Markdown and JSON as views of it."""
