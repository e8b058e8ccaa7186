"""LearNAT: train small language models to turn questions into SQL by verifiable decomposition."""

__version__ = "0.1.0"
