"""Evaluation of generators: a registry of metrics, one file for each. See metrics.registry."""

from metrics.context import Context, Result
from metrics.registry import METRICS, calc_metric

__all__ = ['METRICS', 'Context', 'Result', 'calc_metric']
