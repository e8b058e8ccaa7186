"""Who suggests next steps; see ``base.Proposer``."""
