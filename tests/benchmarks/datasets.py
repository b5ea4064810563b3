"""Speed of converting and reading datasets, against Pillow alone: python tests/benchmarks/datasets.py --help

Each is timed in turn with what Pillow needs for the same images, by CPU time, which other programs disturb little; the figures
are medians.
"""

from __future__ import annotations

import io
import resource
import statistics
import sys
import tempfile
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import PIL.Image

sys.path.insert(0, str(Path(__file__).parents[2]))

from dnnlib.archive import open_archive
from training.data.dataset import ImageFolderDataset
from training.data.making.conversion import convert
from training.data.making.sources import open_source
from training.data.making.transforms import make_transform


def photographs(folder: Path, count: int, size: int) -> None:
    """JPEG files, smooth with some noise, a third wider than high."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for i in range(count):
        small = PIL.Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8)).resize((size * 4 // 3, size))
        noise = rng.integers(-6, 7, (size, size * 4 // 3, 3))
        pixels = np.clip(np.asarray(small) + noise, 0, 255).astype(np.uint8)
        PIL.Image.fromarray(pixels).save(folder / f'{i:06d}.jpg', quality=92)


def with_pillow(folder: Path, resolution: int) -> None:
    """Decode, crop, resize and encode as a conversion does."""
    with zipfile.ZipFile(folder.parent / 'pillow.zip', 'w') as z:
        for path in sorted(folder.iterdir()):
            with PIL.Image.open(path) as image:
                side = min(image.size)
                left, top = (image.width - side) // 2, (image.height - side) // 2
                square = image.crop((left, top, left + side, top + side))
                done = square.resize((resolution, resolution), PIL.Image.Resampling.LANCZOS)
            buffer = io.BytesIO()
            done.save(buffer, 'png', compress_level=0)
            z.writestr(path.name, buffer.getvalue())


def cpu_time() -> float:
    """Seconds, of this process and those that it waited for."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def medians(ways: dict[str, Callable[[], object]], count: int, repeats: int) -> None:
    """Print images per second of CPU time, this process's own and that of the processes it waited for."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    walls: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            before, wall = cpu_time(), time.perf_counter()
            way()
            walls[name].append(time.perf_counter() - wall)
            times[name].append(cpu_time() - before)
    first = next(iter(times.values()))
    for name, values in times.items():
        ratio = statistics.median(a / b for a, b in zip(first, values, strict=True))
        cpu, clock = count / statistics.median(values), count / statistics.median(walls[name])
        print(f'  {name:36s} {cpu:8.0f} img/s of CPU, {clock:8.0f} img/s by the clock; {ratio:5.2f} times {next(iter(times))}')


def pillow_reader(path: Path) -> Callable[[], None]:
    def read() -> None:
        with zipfile.ZipFile(path) as z:
            for name in z.namelist():
                if name.endswith(('.png', '.jpg', '.webp')):
                    with z.open(name) as f:
                        np.array(PIL.Image.open(f)).transpose(2, 0, 1).copy()
    return read


def reader(data: ImageFolderDataset) -> Callable[[], None]:
    def read() -> None:
        for i in range(len(data)):
            data[i]
    return read


@click.command()
@click.option('--count', help='Number of images.', type=int, default=300, show_default=True)
@click.option('--size', help='Height of the photographs.', type=int, default=512, show_default=True)
@click.option('--resolution', help='Of the dataset.', type=int, default=256, show_default=True)
@click.option('--repeats', help='How often each is timed.', type=int, default=5, show_default=True)
@click.option('--members', help='Files in the large ZIP file and the large folder.', type=int, default=200_000, show_default=True)
def main(count: int, size: int, resolution: int, repeats: int, members: int) -> None:
    """Time converting photographs, reading datasets, and opening a large ZIP file and a large folder."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, 'photographs')
        photographs(folder, count, size)
        transform = make_transform('center-crop', resolution, resolution)

        def conversion(workers: int) -> Callable[[], object]:
            return lambda: convert(open_source(str(folder)), f'{temporary}/out.zip', transform, workers=workers)

        print(f'Converting {count} JPEG files of {size * 4 // 3}x{size} to {resolution}x{resolution}:')
        medians({'Pillow': lambda: with_pillow(folder, resolution), 'dataset_tool.py, 1 process': conversion(1),
                 '2 processes': conversion(2)}, count, repeats)

        plain = Path(temporary, 'out.zip')
        packed = {'PNG, stored': plain}
        for kind, options in (('JPEG', dict(quality=92)), ('WebP', dict(quality=92)), ('PNG', dict())):
            packed[f'{kind}, in a compressed ZIP'] = path = Path(temporary, f'{kind}.zip')
            with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as z, zipfile.ZipFile(plain) as source:
                for name in source.namelist()[:-1]:
                    buffer = io.BytesIO()
                    PIL.Image.open(source.open(name)).save(buffer, kind, **options)
                    z.writestr(str(Path(name).with_suffix(f'.{"jpg" if kind == "JPEG" else kind.lower()}')), buffer.getvalue())
        for kind, path in packed.items():
            print(f'Reading {count} images of {resolution}x{resolution}, {kind}:')
            medians({'Pillow': pillow_reader(path), 'ImageFolderDataset': reader(ImageFolderDataset(str(path)))}, count, repeats)

        large = Path(temporary, 'large.zip')
        with zipfile.ZipFile(large, 'w') as z:
            for i in range(members):
                z.writestr(zipfile.ZipInfo(f'{i // 1000:05d}/img{i:08d}.png'), b'')
        many = Path(temporary, 'many')
        for i in range(members):
            if i % 1000 == 0:
                (many / f'{i // 1000:05d}').mkdir(parents=True)
            (many / f'{i // 1000:05d}' / f'img{i:08d}.png').touch()
        for kind, path in (('a ZIP file', large), ('a folder', many)):
            times = []
            for _ in range(3):
                begun = time.process_time()
                open_archive(path).close()
                times.append(time.process_time() - begun)
            tracemalloc.start()
            kept = open_archive(path)
            now, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            kept.close()
            print(f'Opening {kind} of {members} files: {statistics.median(times):5.2f} s of CPU; keeps {now / 2 ** 20:.0f} MiB, '
                  f'at most {peak / 2 ** 20:.0f} MiB')


if __name__ == '__main__':
    main()
