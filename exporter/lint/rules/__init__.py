"""One file a rule: a function `find` of an examined graph, registered under `edgepress.lint_rules`."""
