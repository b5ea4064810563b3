"""The meaning of `--resume`: the files from which a run resumes, and its directory. No torch here."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from dnnlib import seal
from dnnlib.download import is_url
from dnnlib.util import OptionError, UserError
from training.snapshots import shipped

# Networks for transfer learning: names of files of the StyleGAN2-ADA authors, under their licence. Their digests are not known
# here. Each file is verified by the digest of its first download.
EXPORT_FILES = ('config.json', 'model.safetensors')  # of an exported generator: training.snapshots.hub
_PRETRAINED = 'https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/transfer-learning-source-nets/'
PRESETS = {
    'ffhq256':     _PRETRAINED + 'ffhq-res256-mirror-paper256-noaug.pkl',
    'ffhq512':     _PRETRAINED + 'ffhq-res512-mirror-stylegan2-noaug.pkl',
    'ffhq1024':    _PRETRAINED + 'ffhq-res1024-mirror-stylegan2-noaug.pkl',
    'celebahq256': _PRETRAINED + 'celebahq-res256-mirror-paper256-kimg100000-ada-target0.5.pkl',
    'lsundog256':  _PRETRAINED + 'lsundog-res256-paper256-kimg100000-noaug.pkl',
}


@dataclass(frozen=True)
class Resume:
    """The files from which a run resumes.

    network_pkl: path or URL. training_state: the file with the optimisers; None for fresh optimisers.
    start_nimg: images at which to begin; None for the number in the files.
    run_dir: directory of a run that resumes in place, or None.
    transfer: whether the files belong to a run that itself began without a training state.
    stamps: of the files that find_resume checked, taken before it read them. If network_pkl is among them, its checksum was
    correct.
    """

    network_pkl: str
    training_state: str | None = None
    start_nimg: int | None = None
    run_dir: str | None = None
    transfer: bool = False
    stamps: dict[str, list[int]] = field(default_factory=dict, compare=False)

    @property
    def stamp(self) -> list[int] | None:
        """The stamp of network_pkl, if its checksum was verified."""
        return self.stamps.get(self.network_pkl)

    def is_current(self) -> bool:
        """Whether a run that resumes in its own directory still has the files that find_resume looked at."""
        return self.run_dir is None or self.stamps == _stamps(Path(self.run_dir))


def stamp_of(path: str | Path) -> list[int] | None:
    """(size, time of the last change in ns) of a file; None if it cannot be read. A file with the same stamp is not read
    again."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return [found.st_size, found.st_mtime_ns]


def _stamps(run_dir: Path) -> dict[str, list[int] | None]:
    """The stamps of all network snapshots and training states in a run directory."""
    return {str(path): stamp_of(path) for pattern in ('network-snapshot-*.pkl', 'training-state-*.pt')
            for path in run_dir.glob(pattern)}


def find_resume(source: str | None, kimg: int | None, outdir: str, desc: str,
                say: Callable[[str], None] = print, partial: bool = False) -> Resume | None:
    """Interpret --resume=source and --resume-kimg=kimg. None for a run that starts from the beginning.

    desc: the description in the name of this run. `latest` is the newest run in outdir with that description, except for its
    length (-kimg<N>) and origin (-resume<...>).
    say: prints which corrupt files are skipped.
    With kimg, a run resumes in a new directory, because its own already has results of later images.
    partial: --transfer=partial. A new directory then begins at 0 or kimg without a training state, which would need networks of
    the same shapes.
    Raises OptionError for a directory without a snapshot.
    """
    if partial and source in (None, 'noresume', 'latest'):
        raise OptionError('--transfer=partial has no effect without a network to take from; name a snapshot with --resume')
    resume = _find(source, kimg, outdir, desc, say)
    if partial and resume.run_dir is None:
        resume = replace(resume, training_state=None, start_nimg=resume.start_nimg or 0)
    return resume


def _find(source: str | None, kimg: int | None, outdir: str, desc: str, say: Callable[[str], None]) -> Resume | None:
    if kimg is not None and (kimg < 0 or source in (None, 'noresume')):
        raise OptionError('--resume-kimg must be non-negative' if kimg < 0 else '--resume-kimg has no effect without --resume')
    start_nimg = None if kimg is None else kimg * 1000
    if source in (None, 'noresume'):
        return None
    source = shipped.path_of(source)
    if source in PRESETS or is_url(source):  # transfer learning: another dataset, so a new count
        return Resume(PRESETS.get(source, source), start_nimg=start_nimg or 0)
    if source == 'latest':
        run_dir = _latest(Path(outdir), desc)
        if run_dir is None:
            say(f'--resume=latest: no run of this kind in {outdir} has a snapshot yet; starting from the beginning')
            return None
        return _in_run_dir(run_dir, start_nimg, say)
    if Path(source).is_dir() and not (Path(source) / 'config.json').is_file():  # which an exported generator has
        if not _snapshots(Path(source)):
            raise OptionError(f'--resume={source}: no network-snapshot-<kimg>.pkl in this directory; name a run directory '
                              'with one, or --resume=latest for the newest run in --outdir')
        return _in_run_dir(Path(source), start_nimg, say)
    path, stamp = Path(source), stamp_of(source)
    whole, digest, _ = seal.check_file(path)
    if whole is False and path.is_file():
        raise UserError(f'{source}: corrupt, its checksum does not fit; resume from another snapshot')
    state = None if start_nimg == 0 else _state_with(path, digest)
    if state is None and start_nimg != 0 and state_paths(path)[0].exists():
        say(f'{state_paths(path)[0]}: corrupt, or of another snapshot; skipping it')
    return _resume(path, state, start_nimg, None, {source: stamp} if whole else {}, source)


def _latest(outdir: Path, desc: str) -> Path | None:
    def kind(name: str) -> str:
        return re.sub(r'-kimg\d+|-noresume|-resume[^-]+', '', name)

    found = {}
    for path in outdir.iterdir() if outdir.is_dir() else ():
        match = re.match(r'(\d+)-(.*)', path.name)
        if match and kind(match[2]) == kind(desc) and _snapshots(path):
            found[int(match[1])] = path
    return found[max(found)] if found else None


def _in_run_dir(run_dir: Path, start_nimg: int | None, say: Callable[[str], None]) -> Resume:
    """The newest intact pair of network snapshot and training state; without any pair, the newest intact snapshot."""
    stamps = _stamps(run_dir)
    snapshots = _snapshots(run_dir)
    newest_first = [snapshots[kimg] for kimg in sorted(snapshots, reverse=True)]
    alone, passed_over = [], []
    for path in newest_first:
        whole, digest, _ = seal.check_file(path)
        if whole is False or (whole is None and not _is_readable(path)):
            passed_over.append(f'{path}: corrupt, skipping it')
        elif (state := _state_with(path, digest)) is not None:
            for line in passed_over:
                say(line)
            return _resume(path, None if start_nimg == 0 else state, start_nimg, run_dir, stamps)
        else:
            alone.append(path)
            passed_over.append(f'{path}: its training state is missing or corrupt, skipping it')
    if not alone:
        raise UserError(f'{run_dir}: no network snapshot in it is intact; resume from another run')
    for path in newest_first[:newest_first.index(alone[0])]:
        say(f'{path}: corrupt, skipping it')
    return _resume(alone[0], None, start_nimg, run_dir, stamps)


def newest_snapshot(source: str) -> str:
    """The newest intact snapshot of a run directory, or the network in models/ with this name; anything else unchanged.

    Raises OptionError for a folder without any.
    """
    source = shipped.path_of(source)
    folder = Path(source)
    if is_url(source) or not folder.is_dir() or any((folder / name).is_file() for name in EXPORT_FILES):
        return source
    snapshots = _snapshots(folder)
    if not snapshots:
        raise OptionError(f'--network={source}: no network-snapshot-<kimg>.pkl in this directory; name a snapshot, or a run '
                          'directory with one')
    for kimg in sorted(snapshots, reverse=True):
        if seal.check_file(snapshots[kimg])[0] is not False:
            return str(snapshots[kimg])
        print(f'{snapshots[kimg]}: corrupt, skipping it')
    raise UserError(f'{source}: no network snapshot in it is intact; name another network')


def _snapshots(run_dir: Path) -> dict[int, Path]:
    """The network snapshots in a run directory, by kimg."""
    return {int(m[1]): path for path in run_dir.glob('network-snapshot-*.pkl')
            if (m := re.fullmatch(r'network-snapshot-(\d+)', path.stem))}


def _resume(network_pkl: Path, state: Path | None, start_nimg: int | None, run_dir: Path | None,
            stamps: dict[str, list[int]], source: str | None = None) -> Resume:
    try:
        options = json.loads((network_pkl.parent / 'training_options.json').read_text(encoding='utf-8'))
        transfer = options.get('transfer') is True
    except (OSError, ValueError, AttributeError):
        transfer = False
    return Resume(source or str(network_pkl), None if state is None else str(state), start_nimg,
                  None if run_dir is None or start_nimg is not None else str(run_dir), transfer, stamps)


def _is_readable(path: Path) -> bool:
    """Whether a network snapshot without a checksum can be read."""
    from training.snapshots.file import load_network_snapshot
    try:
        load_network_snapshot(str(path), only=('G_ema',))
    except UserError:
        return False
    return True


def state_paths(network_pkl: Path) -> tuple[Path, Path]:
    """The path of the training state of a network snapshot, and its path while a new snapshot with the same name is being
    saved."""
    kimg = network_pkl.stem.removeprefix('network-snapshot-')
    return network_pkl.with_name(f'training-state-{kimg}.pt'), network_pkl.with_name(f'training-state-{kimg}.previous.pt')


def state_of(network_pkl: Path) -> Path | None:
    """The intact training state that was saved together with a network snapshot."""
    return _state_with(network_pkl, seal.check_file(network_pkl)[1])


def _state_with(network_pkl: Path, digest: str | None) -> Path | None:
    """The same, for a network snapshot with this SHA-256."""
    for path in state_paths(network_pkl) if digest is not None else ():
        whole, _, belongs_to = seal.check_file(path)
        if whole and belongs_to == digest:
            return path
    return None
