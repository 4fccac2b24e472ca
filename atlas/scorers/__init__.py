"""Scorers: from photographs to severities, and what can be asked of them."""
