"""Common code of all loss terms: the interface of a term, its batch, and the phase that trains."""

from training.losses.annealing import Annealing
from training.losses.batch import PhaseBatch
from training.losses.phase import Phase, make_phases
from training.losses.recorded_phase import RecordedPhase, kind_of_phase
from training.losses.term import Term

__all__ = ['Annealing', 'Phase', 'PhaseBatch', 'RecordedPhase', 'Term', 'kind_of_phase', 'make_phases']
