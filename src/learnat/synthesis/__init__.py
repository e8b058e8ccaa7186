"""Decomposition synthesis: proposers suggest next steps, a search explores them, gold's AST says which are right."""
