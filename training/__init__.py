"""The map of the house. Read training_loop.py first: it tells the story of a run.

    training_loop   one run, top to bottom
    config          options -> one plain configuration;  own_classes: networks and datasets of the user's own
    option_files    options in YAML and JSON, and those of earlier runs
    inputs          what one iteration gets: real images, latents, labels, random numbers
    methods/        one folder per method: options, defaults, checks, loss terms
    losses/         what the terms of all methods share: term, batch, phase
    networks/       mapping, synthesis, discriminator, generator, flow, EMA
    augmentation/   augmentation of what D sees, and what adapts its strength
    data/           datasets as they are read while training;  data/making/: what only dataset_tool.py uses
    run/            plan, directory, resume, checkpoint, schedule, monitor, evaluation, report of one run
    snapshots/      the file format, published pickles, model hubs
    sampling/       the commands of generate.py
    encoder/        `python -m training.encoder`: an encoder of real images for a trained generator
    doctor/         what works on this machine

dataset, augment, flow, snapshot, curves, report and calibration keep names that are imported or run from outside.
"""
