"""Weights & Biases. Any problem is reported in one line, and training continues."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import ModuleType
from typing import Any

import numpy as np

from dnnlib.files import atomic_open

STEP = 'global_step'  # thousands of images, the horizontal axis of all charts
ID_FILE = 'wandb-run-id.txt'
ENVIRONMENT = {
    'WANDB_SILENT': 'true', 'WANDB_ERROR_REPORTING': 'false',  # nothing on the terminal, no reports about this program
    'WANDB_INIT_TIMEOUT': '30', 'WANDB_FINISH_TIMEOUT': '60',  # seconds to wait for the server: at the start, and at the end
}
REAL = ('reals', 'recon')  # pictures that show training images
MODES = {'online': 'online', 'run': 'online', 'offline': 'offline', 'dryrun': 'offline'}  # of WANDB_MODE; others mean off


def resolve_mode(option: str) -> str:
    """The mode of --wandb. auto follows WANDB_MODE or `wandb offline`, or else is online if the user is logged in.

    Returns online, offline or disabled. auto is disabled if wandb is not installed or rejects its settings. The server is not
    contacted.
    """
    if option != 'auto':
        return option
    with contextlib.suppress(Exception):
        wandb = _import()
        try:
            mode = MODES.get(wandb.setup().settings.mode, 'disabled')
            if mode == 'offline' or (mode == 'online' and _logged_in(wandb)):
                return mode
        finally:
            wandb.teardown()  # ends its background process
    return 'disabled'


class WandbLogger:
    """One run of Weights & Biases, named after the run directory, whose files go into <run_dir>/wandb.

    options: mode (online or offline), project (WANDB_PROJECT and WANDB_ENTITY take precedence), and images: none, fakes or all.
    Only all sends pictures of training images.
    config: shown beside the curves, without the folders of absolute paths.
    The id of the run is kept in the directory, so a resumed run continues its curves.
    Without a server, everything is kept in files for `wandb sync`. say: prints a line for the user.
    """

    def __init__(self, run_dir: str | Path, options: Mapping[str, Any], config: Mapping[str, Any], say: Callable[[str], None]):
        self._run_dir, self._say = Path(run_dir), say
        self._run, self._images = None, options.get('images', 'fakes')
        try:
            self._wandb = wandb = _import()
            wandb.setup(wandb.Settings(mode=options['mode']))
            if options['mode'] == 'online' and not _logged_in(wandb):
                say('Weights & Biases: not logged in, so nothing is sent (log in with `wandb login`, or use --wandb=offline)')
                wandb.teardown()
                return
            self._run = self._start(options, config)
            self._run.define_metric(STEP)
            self._run.define_metric('*', step_metric=STEP)
            if not self._run.offline:
                say(f'Weights & Biases: sends {self._what()} to {self._run.url} (--wandb=disabled turns it off)')
        except Exception as err:
            self._give_up('could not be started', err)

    def _what(self) -> str:
        images = {'none': '', 'fakes': ' and generated images', 'all': ', generated and training images'}
        return 'curves and options' + images[self._images]

    def scalars(self, values: Mapping[str, float], cur_nimg: int) -> None:
        """One point for each name."""
        self._log(lambda: dict(values), cur_nimg)

    def image(self, name: str, pixels: np.ndarray, cur_nimg: int) -> None:
        """pixels: uint8 [H, W, C], C = 1 or 3."""
        if self._images == 'all' or (self._images == 'fakes' and name not in REAL):
            self._log(lambda: {name: self._wandb.Image(pixels)}, cur_nimg)

    def alert(self, rule: str, text: str, cur_nimg: int) -> None:
        """Something is wrong with the run: an alert, which the service can send as an e-mail."""
        if self._run is not None:
            try:
                self._run.alert(title=rule, text=text)
            except Exception as err:
                self._give_up('failed', err)

    def close(self) -> None:
        """Wait until everything has been sent, but not for longer than WANDB_FINISH_TIMEOUT."""
        if self._run is None:
            return
        try:
            try:
                self._run.finish()
            finally:
                self._wandb.teardown()  # the files are complete only when its background process has ended
        except Exception as err:
            self._say(f'Weights & Biases: not everything was sent ({_reason(err)}); '
                      f'the rest is in {self._run_dir}/wandb: send it with `wandb sync`')

    def _log(self, make_values: Callable[[], dict[str, Any]], cur_nimg: int) -> None:
        if self._run is None:
            return
        try:
            self._run.log({**make_values(), STEP: cur_nimg // 1000})
        except Exception as err:
            self._give_up('failed', err)

    def _start(self, options: Mapping[str, Any], config: Mapping[str, Any]) -> Any:
        wandb, run_dir = self._wandb, self._run_dir
        settings = wandb.Settings(
            console='off', save_code=False, disable_code=True, disable_git=True,  # the log is log.txt
            x_disable_meta=True,  # host, user, folders
            finish_timeout_raises=True)
        kwargs = dict(
            project=os.environ.get('WANDB_PROJECT') or options['project'], name=run_dir.resolve().name,
            id=_run_id(run_dir), resume='allow', dir=str(run_dir), config=without_folders(config), settings=settings)
        try:
            return wandb.init(mode=options['mode'], **kwargs)
        except wandb.errors.CommError as err:
            wandb.teardown()  # ends its background process, which still holds the id
            run = wandb.init(mode='offline', **kwargs)
            self._say(f'Weights & Biases: no connection ({_reason(err)}); its files are kept in {run_dir}/wandb: '
                      'send them with `wandb sync`')
            return run

    def _give_up(self, what: str, err: Exception) -> None:
        self._run = None
        self._say(f'Weights & Biases {what} ({_reason(err)}); training continues without it')


def without_folders(value: Any) -> Any:
    """A configuration whose absolute paths, of any operating system, are replaced by their last parts."""
    if isinstance(value, Mapping):
        return {key: without_folders(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_folders(item) for item in value]
    for kind in (PurePosixPath, PureWindowsPath):
        if isinstance(value, str) and kind(value).is_absolute():
            return kind(value).name
    return value


def _import() -> ModuleType:
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import wandb  # takes seconds; only for those who use it
    return wandb


def _logged_in(wandb: ModuleType) -> bool:
    """Whether the user has credentials. Asks neither the user, which could block forever, nor the server."""
    return wandb.login(prompt=False, verify=False)


def _run_id(run_dir: Path) -> str:
    path = run_dir / ID_FILE
    if not path.is_file():
        with atomic_open(path, 'w') as f:
            f.write(secrets.token_hex(4) + '\n')
    return path.read_text().strip()


def _reason(err: Exception) -> str:
    if isinstance(err, ModuleNotFoundError) and err.name == 'wandb':
        return 'the package wandb is not installed'
    return f'{type(err).__name__}: {(str(err).strip().splitlines() or ["no reason given"])[0]}'
