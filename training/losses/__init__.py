"""Loss terms. Adding a method: one file here, one line in TERMS, its options in train.py."""

from __future__ import annotations

from training.losses.batch import PhaseBatch
from training.losses.clr import ImageReconstruction, LatentConsistency
from training.losses.flow_sparsity import FlowSparsity
from training.losses.jacobian_sparsity import JacobianSparsity
from training.losses.logistic import DiscriminatorLogisticFake, DiscriminatorLogisticReal, GeneratorLogistic
from training.losses.orthogonality import Orthogonality
from training.losses.path_length import PathLength
from training.losses.phase import Phase, make_phases
from training.losses.r1 import R1
from training.losses.term import Term

__all__ = ['TERMS', 'Phase', 'PhaseBatch', 'Term', 'make_phases', 'make_terms']

TERMS = {f'{cls.net}/{cls.name}': cls for cls in (
    GeneratorLogistic,
    PathLength,
    FlowSparsity,
    JacobianSparsity,
    Orthogonality,
    ImageReconstruction,
    DiscriminatorLogisticFake,
    LatentConsistency,
    DiscriminatorLogisticReal,
    R1,
)}


def make_terms(config: dict[str, dict]) -> list[Term]:
    """{'G/path_length': {'weight': 2.0, 'interval': 4}, ...} -> terms; those of weight 0 are left out."""
    return [TERMS[key](**kwargs) for key, kwargs in config.items() if kwargs.get('weight', 1.0) != 0]
