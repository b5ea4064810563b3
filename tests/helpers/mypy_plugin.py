"""For mypy: an attribute that a torch module's class doesn't declare has type Any.

torch declares such attributes as `Tensor | Module`, right for parameters and submodules only. Networks, also those of
a user's own class, have numbers and methods there: training/networks/protocols.py lists them.
"""

from __future__ import annotations

from collections.abc import Callable

from mypy.plugin import AttributeContext, Plugin
from mypy.types import AnyType, Type, TypeOfAny, UnionType, get_proper_type

MODULE = 'torch.nn.modules.module.Module.'
UNDECLARED = {'Tensor', 'Module'}


class ModuleAttributes(Plugin):
    def get_attribute_hook(self, fullname: str) -> Callable[[AttributeContext], Type] | None:
        return _undeclared_is_any if fullname.startswith(MODULE) else None


def _undeclared_is_any(ctx: AttributeContext) -> Type:
    """Any for what comes from Module.__getattr__, which is the only `Tensor | Module` there is."""
    found = get_proper_type(ctx.default_attr_type)
    if isinstance(found, UnionType):
        items = [get_proper_type(item) for item in found.items]
        if {getattr(getattr(item, 'type', None), 'name', None) for item in items} == UNDECLARED:
            return AnyType(TypeOfAny.implementation_artifact)
    return ctx.default_attr_type


def plugin(version: str) -> type[Plugin]:
    return ModuleAttributes
