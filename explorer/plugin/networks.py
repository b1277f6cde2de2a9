"""What the NFS plugins share: the state that a module keeps for each network namespace (``struct net_generic``).

drgn is imported only inside functions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .collecting import for_each_list_entry
from .declare import PluginKernel

if TYPE_CHECKING:
    import drgn

__all__ = ("for_each_net_state",)

_POINTER = 8


def for_each_net_state(
    kernel: PluginKernel, module: str, id_name: str, type_name: str
) -> Iterator[drgn.Object]:
    """``net_generic(net, id)`` of every network namespace that has it, as ``type_name *``.

    Mirrors include/net/netns/generic.h: ``gen->ptr[id]`` lies over the struct itself. A container may run a server
    of its own.

    :param id_name: the module's variable with its id (``unsigned int``)
    """
    import drgn

    index = kernel.variable(module, id_name, "unsigned int").value_()
    head = kernel.variable("", "net_namespace_list", "struct list_head")
    for net in for_each_list_entry(kernel, "net", head, "list"):
        generic = net.gen.value_()
        if not generic or index >= net.gen.s.len.value_():
            continue  # made before the module was loaded, and not told of it yet
        state = drgn.Object(kernel.prog, "void *", address=generic + _POINTER * index).value_()
        if state:
            yield drgn.Object(kernel.prog, f"{type_name} *", state)
