"""The networks of StyleGAN2-ADA (Karras et al., "Training Generative Adversarial Networks with Limited Data", 2020).

Names of parameters, buffers and constructor arguments are those of the published snapshots, so that their state
dicts load with `strict=True`.
"""

from training.networks.discriminator import Discriminator, DiscriminatorBlock, DiscriminatorEpilogue, MinibatchStdLayer
from training.networks.generator import Generator
from training.networks.layers import Conv2dLayer, FullyConnectedLayer
from training.networks.mapping import MappingNetwork
from training.networks.synthesis import SynthesisBlock, SynthesisLayer, SynthesisNetwork, ToRGBLayer

__all__ = [
    'Conv2dLayer', 'Discriminator', 'DiscriminatorBlock', 'DiscriminatorEpilogue', 'FullyConnectedLayer', 'Generator',
    'MappingNetwork', 'MinibatchStdLayer', 'SynthesisBlock', 'SynthesisLayer', 'SynthesisNetwork', 'ToRGBLayer',
]
