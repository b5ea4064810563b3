"""Helpers for any torch project: image operators, statistics, safe snapshots of modules, devices."""
