"""Contracts of import-linter's: a package is reached through its face, never past it; a plugin has one door."""

from __future__ import annotations

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output

__all__ = ("FacesContract", "OneDoorContract")


class FacesContract(Contract):
    """Nobody outside a package imports a module of it: what others may use stands in its ``__init__``.

    ``packages`` are those that have a face; the packages within them are asked likewise. What lies within a package,
    however deep, may import any module of it.
    """

    type_name = "faces"
    packages = fields.ListField(subfield=fields.ModuleField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Look at every import of a module that is no package itself."""
        faces = {
            package
            for listed in self.packages  # type: ignore[attr-defined]
            for package in (listed.name, *graph.find_descendants(listed.name))
            if graph.find_children(package)
        }
        past = []
        for module in graph.modules:
            package, _, _ = module.rpartition(".")
            if package not in faces or module in faces:
                continue
            for importer in graph.find_modules_that_directly_import(module):
                if importer != package and not importer.startswith(f"{package}."):
                    past.append((importer, module))
        return ContractCheck(kept=not past, metadata={"past": sorted(past)})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """One line for each import."""
        for importer, module in check.metadata["past"]:
            output.print_error(
                f"{importer} reaches past the face of {module.rpartition('.')[0]}, to {module}"
            )


class OneDoorContract(Contract):
    """What lies in a package imports of ours one other package, and what lies beside it: nothing else.

    ``package`` is the one that is held to it, ``door`` the one that it may import, by its face.
    """

    type_name = "one_door"
    package = fields.ModuleField()
    door = fields.ModuleField()

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Look at every import of every module of the package; one that has no modules is no such package."""
        package, door = self.package.name, self.door.name  # type: ignore[attr-defined]
        root = package.partition(".")[0]
        modules = sorted(graph.find_descendants(package))
        past = [
            (module, imported)
            for module in modules
            for imported in sorted(graph.find_modules_directly_imported_by(module))
            if imported.partition(".")[0] == root
            and imported != door
            and not imported.startswith(f"{package}.")
        ]
        return ContractCheck(kept=bool(modules) and not past, metadata={"past": past, "door": door})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """One line for each import."""
        door = check.metadata["door"]
        if not check.metadata["past"]:
            output.print_error("there are no modules in it: is the link to them there?")
        for importer, module in check.metadata["past"]:
            output.print_error(f"{importer} imports {module}, and may import {door} only")
