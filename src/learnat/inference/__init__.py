"""Inference: generating answers, and reading steps and SQL out of them."""
