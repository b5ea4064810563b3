"""Carry out the instructions of pickles on plain data alone (see torch_utils.safe_pickle)."""

from __future__ import annotations

import codecs
import mmap
import struct
from collections.abc import Callable, Mapping
from typing import Any

from torch_utils.pickle_parts import MAX_STEPS, Budget, Name, RecordError, Stub, UnknownName, describe, plain_key

LONGEST_NUMBER = 256  # maximum bytes of an integer, or digits of a number written as text


class Machine:
    """State of reading one pickle. `run()` returns its value and leaves `position` after the pickle."""

    def __init__(self, data: bytes | mmap.mmap, names: Mapping[str, Name], budget: Budget, position: int,
                 persistent: Callable[[Any], Any] | None):
        self.data, self.names, self.budget, self.position, self.persistent = data, names, budget, position, persistent
        self.stack: list[Any] = []
        self.marks: list[int] = []  # stack heights
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        while True:
            self.budget.steps -= 1
            if self.budget.steps < 0:
                raise RecordError(f'it has more than {MAX_STEPS} instructions')
            code = self.data[self.position]
            self.position += 1
            if code == STOP:
                return self.stack.pop()
            operation = OPERATIONS.get(code)
            if operation is None:
                raise RecordError('it is damaged or no pickle at all')
            operation(self)

    # Read the arguments of an instruction.

    def take(self, size: int) -> bytes:
        if not 0 <= size <= len(self.data) - self.position:
            raise RecordError('it is damaged: it ends too early')
        start, self.position = self.position, self.position + size
        return self.data[start:self.position]

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def line(self) -> bytes:
        end = self.data.find(b'\n', self.position)
        line = self.take(end - self.position)  # without an end the size is negative, which take() refuses
        self.position += 1
        return line

    def written_number(self) -> bytes:
        line = self.line()
        if len(line) > LONGEST_NUMBER:
            raise RecordError(f'a number in it has {len(line)} digits')
        return line

    # Carry out instructions.

    def above_mark(self) -> list[Any]:
        height = self.marks.pop()
        items = self.stack[height:]
        del self.stack[height:]
        return items

    def look_up(self, module: Any, name: Any) -> Name:
        full = f'{module}.{name}' if type(module) is type(name) is str else None
        if full is None or full not in self.names:
            what = f'{describe(module)}.{describe(name)}'
            raise UnknownName(f'it asks for {what}, which is not among the few names that are read')
        return self.names[full]

    def apply(self, how: str) -> None:
        args = self.stack.pop()
        target = self.stack[-1]
        function = getattr(target, how) if type(target) is Name else None
        if function is None or type(args) is not tuple:
            what = target.name if type(target) is Name else f'an object ({type(target).__name__})'
            raise RecordError(f'it calls {what}, which is data and no function')
        try:
            self.stack[-1] = function(*args)
        except RecordError:
            raise
        except Exception as err:  # the file chooses the arguments
            raise RecordError(f'its {target.name} has arguments that make no sense') from err

    def build(self) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if not isinstance(target, Stub):
            raise RecordError(f'it sets the state of an object that has none ({type(target).__name__})')
        try:
            target.build(state)
        except RecordError:
            raise
        except Exception as err:
            raise RecordError(f'the state of an object in it makes no sense ({type(target).__name__})') from err

    def append(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise RecordError('it is damaged: it appends to something that is no list')
        self.stack[-1].extend(items)

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict:
            raise RecordError('it is damaged: it sets items of something that is no dict')
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[plain_key(key)] = value

    def refer(self, pid: Any) -> None:
        if self.persistent is None:
            raise RecordError('it refers to data outside of the file')
        self.stack.append(self.persistent(pid))


# Instructions by their code. A code that is missing here counts as damage.

STOP = ord('.')
Operation = Callable[[Machine], Any]
OPERATIONS: dict[int, Operation] = {}


def _operation(code: bytes) -> Callable[[Operation], Operation]:
    def register(function: Operation) -> Operation:
        OPERATIONS[code[0]] = function
        return function
    return register


def _refused(code: bytes, why: str) -> None:
    @_operation(code)
    def refuse(m: Machine) -> None:
        raise RecordError(why)


def _pushes(code: bytes, make: Callable[[Machine], Any]) -> None:
    OPERATIONS[code[0]] = lambda m: m.stack.append(make(m))


def _latin1(data: bytes) -> str:
    return data.decode('latin1')  # Python 2 wrote both text and bytes this way


def _utf8(data: bytes) -> str:
    return data.decode('utf-8', 'surrogatepass')


def _integer(data: bytes) -> int:
    if len(data) > LONGEST_NUMBER:
        raise RecordError(f'a number in it has {len(data)} bytes')
    return int.from_bytes(data, 'little', signed=True)


def _quoted(line: bytes) -> str:
    line = line.strip()
    if len(line) < 2 or line[0] != line[-1] or line[0] not in b'\'"':
        raise RecordError('it is damaged: a text without quotes')
    return _latin1(codecs.escape_decode(line[1:-1])[0])


def _whole(line: bytes) -> int | bool:
    return line == b'01' if line in (b'00', b'01') else int(line)


for _code, _value in {b'N': None, b'\x88': True, b'\x89': False, b')': ()}.items():
    _pushes(_code, lambda m, value=_value: value)  # type: ignore[misc]  # mypy: lambdas without defaults only
for _code, _type in {b'}': dict, b']': list, b'\x8f': set}.items():
    _pushes(_code, lambda m, make=_type: make())  # type: ignore[misc]  # mypy: lambdas without defaults only
for _code, _form in {b'J': '<i', b'K': '<B', b'M': '<H', b'G': '>d'}.items():
    _pushes(_code, lambda m, form=_form: m.number(form))  # type: ignore[misc]  # mypy: lambdas without defaults only
for _code, _form, _decode in [  # a length, then that many bytes
        (b'\x8c', '<B', _utf8), (b'X', '<I', _utf8), (b'\x8d', '<Q', _utf8), (b'U', '<B', _latin1), (b'T', '<i', _latin1),
        (b'C', '<B', bytes), (b'B', '<I', bytes), (b'\x8e', '<Q', bytes), (b'\x96', '<Q', bytes),
        (b'\x8a', '<B', _integer), (b'\x8b', '<i', _integer)]:
    _pushes(_code, lambda m, form=_form, decode=_decode: decode(m.take(m.number(form))))  # type: ignore[misc]  # mypy: lambdas without defaults only
for _code, _form in {b'h': '<B', b'j': '<I'}.items():
    _pushes(_code, lambda m, form=_form: m.memo[m.number(form)])  # type: ignore[misc]  # mypy: lambdas without defaults only
_pushes(b'g', lambda m: m.memo[int(m.written_number())])
_pushes(b'I', lambda m: _whole(m.written_number()))
_pushes(b'L', lambda m: int(m.written_number().removesuffix(b'L')))
_pushes(b'F', lambda m: float(m.written_number()))
_pushes(b'S', lambda m: _quoted(m.line()))
_pushes(b'V', lambda m: m.line().decode('raw-unicode-escape'))
_pushes(b't', lambda m: tuple(m.above_mark()))
_pushes(b'l', lambda m: m.above_mark())
_pushes(b'2', lambda m: m.stack[-1])
_pushes(b'c', lambda m: m.look_up(_utf8(m.line()), _utf8(m.line())))

for _code, _count in {b'\x85': 1, b'\x86': 2, b'\x87': 3}.items():
    @_operation(_code)
    def _tuple(m: Machine, count: int = _count) -> None:
        if len(m.stack) < count:
            raise RecordError('it is damaged: its stack is empty')
        m.stack[-count:] = [tuple(m.stack[-count:])]

for _code, _form in {b'q': '<B', b'r': '<I'}.items():
    @_operation(_code)
    def _put(m: Machine, form: str = _form) -> None:
        m.memo[m.number(form)] = m.stack[-1]

_operation(b'p')(lambda m: m.memo.update({int(m.written_number()): m.stack[-1]}))
_operation(b'\x94')(lambda m: m.memo.update({len(m.memo): m.stack[-1]}))
_operation(b'(')(lambda m: m.marks.append(len(m.stack)))
_operation(b'0')(lambda m: m.stack.pop())
_operation(b'1')(lambda m: m.above_mark())
_operation(b'a')(lambda m: m.append([m.stack.pop()]))
_operation(b'e')(lambda m: m.append(m.above_mark()))
_operation(b's')(lambda m: m.set_items([m.stack.pop(), m.stack.pop()][::-1]))
_operation(b'u')(lambda m: m.set_items(m.above_mark()))
_operation(b'R')(lambda m: m.apply('call'))
_operation(b'\x81')(lambda m: m.apply('new'))
_operation(b'b')(lambda m: m.build())
_operation(b'P')(lambda m: m.refer(_utf8(m.line())))
_operation(b'Q')(lambda m: m.refer(m.stack.pop()))


@_operation(b'd')
def _dict(m: Machine) -> None:
    items = m.above_mark()
    m.stack.append({})
    m.set_items(items)


@_operation(b'\x90')
def _add(m: Machine) -> None:
    items = m.above_mark()
    if type(m.stack[-1]) is not set:
        raise RecordError('it is damaged: it adds to something that is no set')
    m.stack[-1].update(plain_key(item) for item in items)


@_operation(b'\x93')
def _stack_name(m: Machine) -> None:
    name, module = m.stack.pop(), m.stack.pop()
    m.stack.append(m.look_up(module, name))


@_operation(b'\x80')
def _protocol(m: Machine) -> None:
    if m.number('<B') > 5:
        raise RecordError('it is of a pickle protocol above 5')


@_operation(b'\x95')
def _frame(m: Machine) -> None:
    if m.number('<Q') > len(m.data) - m.position:
        raise RecordError('it is damaged: it ends too early')


@_operation(b'i')
def _old_instance(m: Machine) -> None:
    name = m.look_up(_utf8(m.line()), _utf8(m.line()))
    raise RecordError(f'it makes an object of {name.name} in an outdated way')


_refused(b'o', 'it is damaged, or makes an object of a class in an outdated way')
_refused(b'\x92', 'it is damaged, or makes an object of a class with keyword arguments')
_refused(b'\x91', 'it is damaged, or has a frozen set')
for _code in (b'\x82', b'\x83', b'\x84'):
    _refused(_code, 'it asks for an extension (copyreg), and none is read')
for _code in (b'\x97', b'\x98'):
    _refused(_code, 'it refers to data outside of the file')
