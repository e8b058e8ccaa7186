"""What the root mains run: the recipes, and the entry point that wraps them."""
