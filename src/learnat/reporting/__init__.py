"""Pictures and pages of what runs left behind."""
