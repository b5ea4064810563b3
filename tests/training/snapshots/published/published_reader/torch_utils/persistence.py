"""Opens records as the format has it: executes the source text, makes an instance without its constructor, fills it in."""

import types

SOURCES = set()


def _reconstruct_persistent_obj(record):
    assert list(record) == ['type', 'version', 'module_src', 'class_name', 'state']
    assert (record['type'], record['version']) == ('class', 6)
    SOURCES.add(record['module_src'])
    module = types.ModuleType('imported')
    exec(record['module_src'], module.__dict__)
    instance = object.__new__(module.__dict__[record['class_name']])
    instance.__dict__.update(record['state'])
    return instance
