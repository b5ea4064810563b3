"""Persistent classes as the format has them: instances remember their arguments, and pickle with the source of their class."""

import copy
import inspect
import sys
import types
import uuid

import dnnlib

VERSION = 6
SOURCES = {}  # module -> the text that it was made of


def persistent_class(cls):
    if issubclass(cls, Persistent) and '_class_name' in vars(cls):
        return cls
    module = sys.modules[cls.__module__]
    if module not in SOURCES:
        SOURCES[module] = inspect.getsource(module)

    class Decorated(cls, Persistent):
        _class_name, _module_src = cls.__name__, SOURCES[module]

        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self._init_args, self._init_kwargs = copy.deepcopy(args), copy.deepcopy(kwargs)

    Decorated.__name__ = cls.__name__
    return Decorated


class Persistent:
    init_args = property(lambda self: self._init_args)
    init_kwargs = property(lambda self: dnnlib.EasyDict(self._init_kwargs))

    def __reduce__(self):
        return _reconstruct_persistent_obj, (dict(type='class', version=VERSION, module_src=self._module_src,
                                                  class_name=self._class_name, state=self.__dict__),)


def _reconstruct_persistent_obj(record):
    assert list(record) == ['type', 'version', 'module_src', 'class_name', 'state']
    assert (record['type'], record['version']) == ('class', VERSION)
    cls = persistent_class(vars(_module_of(record['module_src']))[record['class_name']])
    instance = cls.__new__(cls)  # no constructor is called
    if hasattr(instance, '__setstate__'):
        instance.__setstate__(dnnlib.EasyDict(record['state']))
    else:
        instance.__dict__.update(record['state'])
    return instance


def _module_of(text):
    for module, source in SOURCES.items():
        if source == text:
            return module
    module = types.ModuleType('imported_' + uuid.uuid4().hex)
    sys.modules[module.__name__] = module
    SOURCES[module] = text
    exec(text, vars(module))
    return module
