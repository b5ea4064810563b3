"""Metrics of networks with domains, one file for each, and what they share."""
