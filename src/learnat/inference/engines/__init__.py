"""Engines: what turns prompts into text, be it a model in this process or a server."""
