"""The name of the processor."""

import platform
from pathlib import Path

from dnnlib import processor


def test_the_name_is_that_of_the_system_or_else_of_python(monkeypatch, tmp_path):
    info = tmp_path / 'cpuinfo'
    info.write_text('processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\n')
    monkeypatch.setattr(processor, 'Path', lambda path: info)
    monkeypatch.setattr(platform, 'processor', lambda: 'arm')
    assert processor.model_name() == 'Some CPU @ 2 GHz'
    info.write_text('processor\t: 0\n')
    assert processor.model_name() == 'arm'
    monkeypatch.setattr(processor, 'Path', lambda path: Path('no such file'))
    assert processor.model_name() == 'arm'
