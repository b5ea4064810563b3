"""Taking up a snapshot, as a run does."""

from dnnlib.util import EasyDict
from training.run.restore import restore_networks


def resume_networks(source, networks):
    """Copy the weights of a snapshot into networks. Returns the images seen."""
    config = EasyDict(resume_pkl=str(source), resume_nimg=None, resume_state=None, ada_target=None)
    return restore_networks(config, networks, None).cur_nimg
