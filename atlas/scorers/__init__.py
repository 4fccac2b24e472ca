"""Scorers: from photographs to severities and their explanations."""
