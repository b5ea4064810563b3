"""Weights & Biases, which is never worth a run: whatever goes wrong with it is told in one line, and training goes on."""

from __future__ import annotations

import configparser
import netrc
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from dnnlib.files import atomic_open

STEP = 'global_step'    # thousands of images, the horizontal axis of all charts
INIT_TIMEOUT = 30       # seconds to wait for the server at the start; WANDB_INIT_TIMEOUT changes it
FINISH_TIMEOUT = 60     # seconds to wait at the end until everything is uploaded; WANDB_FINISH_TIMEOUT changes it
ID_FILE = 'wandb-run-id.txt'


class WandbLogger:
    """One run of Weights & Biases, named after the run directory, whose files go into <run_dir>/wandb.

    options: mode (online or offline) and project; WANDB_PROJECT and WANDB_ENTITY come first. config: shown beside the curves.
    The id of the run is kept in the directory, so that a run that goes on there continues its curves.
    Without a server, what would be sent is kept in files for `wandb sync`. say: how to tell the user that.
    """

    def __init__(self, run_dir: str | Path, options: Mapping[str, Any], config: Mapping[str, Any], say: Callable[[str], None]):
        self._run_dir, self._say = Path(run_dir), say
        self._run = None
        if options['mode'] == 'online' and not has_credentials():
            say('Weights & Biases: not logged in, so nothing is sent (log in with `wandb login`, or use --wandb=offline)')
            return
        # Neither questions on the terminal, which would wait for ever, nor reports about this program.
        os.environ.update(WANDB_SILENT='true', WANDB_ERROR_REPORTING='false')
        try:
            import wandb
            self._wandb = wandb
            self._run = self._start(options, config)
            self._run.define_metric(STEP)
            self._run.define_metric('*', step_metric=STEP)
        except Exception as err:
            self._give_up('could not be started', err)

    def scalars(self, values: Mapping[str, float], cur_nimg: int) -> None:
        """One point for each name."""
        self._log(lambda: dict(values), cur_nimg)

    def image(self, name: str, pixels: np.ndarray, cur_nimg: int) -> None:
        """pixels: uint8 [H, W, C], C = 1 or 3."""
        self._log(lambda: {name: self._wandb.Image(pixels)}, cur_nimg)

    def close(self) -> None:
        """Wait until everything has been sent, but not for longer than FINISH_TIMEOUT."""
        if self._run is None:
            return
        try:
            try:
                self._run.finish()
            finally:
                self._wandb.teardown()  # only when its background process has ended is everything in the files
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
            silent=True, console='off',  # the log is log.txt
            save_code=False, disable_code=True, disable_git=True,
            init_timeout=float(os.environ.get('WANDB_INIT_TIMEOUT', INIT_TIMEOUT)),
            finish_timeout=float(os.environ.get('WANDB_FINISH_TIMEOUT', FINISH_TIMEOUT)), finish_timeout_raises=True)
        kwargs = dict(
            project=os.environ.get('WANDB_PROJECT') or options['project'], entity=os.environ.get('WANDB_ENTITY') or None,
            name=run_dir.resolve().name, id=_run_id(run_dir), resume='allow', dir=str(run_dir), config=dict(config),
            settings=settings)
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
        self._say(f'Weights & Biases {what} ({_reason(err)}); training goes on without it')


def resolve_mode(option: str, environ: Mapping[str, str] = os.environ) -> str:
    """What --wandb means here: auto follows WANDB_MODE, `wandb offline`, or else is online for those who are logged in.

    Returns online, offline or disabled. wandb is not imported, nor need it be installed.
    """
    if option != 'auto':
        return option
    mode = environ.get('WANDB_MODE') or _settings(environ).get('mode')
    if mode is None:
        return 'online' if has_credentials(environ) else 'disabled'
    return {'online': 'online', 'run': 'online', 'offline': 'offline', 'dryrun': 'offline'}.get(mode.lower(), 'disabled')


def has_credentials(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether there is a key for the server: in WANDB_API_KEY, or in the file that `wandb login` writes."""
    if environ.get('WANDB_API_KEY') or environ.get('WANDB_IDENTITY_TOKEN_FILE'):
        return True
    url = environ.get('WANDB_BASE_URL') or _settings(environ).get('base_url') or 'https://api.wandb.ai'
    names = [environ['NETRC']] if environ.get('NETRC') else ['~/.netrc', '~/_netrc']
    for path in (Path(name).expanduser() for name in names):
        try:
            if path.is_file():
                return bool((netrc.netrc(path).authenticators(urlsplit(url).netloc) or ('', '', ''))[2])
        except (OSError, netrc.NetrcParseError):
            return False
    return False


def _settings(environ: Mapping[str, str]) -> Mapping[str, str]:
    """The user's settings, which `wandb login --host` and `wandb offline` write."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(Path(environ.get('WANDB_CONFIG_DIR') or '~/.config/wandb').expanduser() / 'settings')
    except (OSError, UnicodeDecodeError, configparser.Error):
        return {}
    return parser['default'] if parser.has_section('default') else {}


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
