"""A squashfs that holds this machine's own Python and the installed tool: to run the tool inside a guest.

The image has ``/py`` (Python's prefix, which finds the rest), ``/site`` (the packages the tool needs, and its own
metadata: its plugins are found by that), ``/app`` (the tool), ``/bin/nullfs-explorer`` and the shared libraries that
any of them needs, each under its own path.
"""

from __future__ import annotations

import compileall
import hashlib
import py_compile
import shutil
import sys
from pathlib import Path

from tests import python_tree
from tests.kernels.lab.errors import LabError
from tests.kernels.lab.guest import Guest, GuestOptions
from tests.kernels.lab.kernels import Kernel
from tests.kernels.lab.squashfs import cached_image
from tests.python_tree import copy_packages, copy_python, metadata_files, required_packages, shared_libraries

__all__ = ("boot_live", "build_live_image")

_PACKAGE = Path(__file__).parents[3] / "explorer"
#: What runs in the guest beside the tool.
_SCRIPTS = Path(__file__).parent / "guest"
#: passwd, sudoers and the like of the guest.
_ETC = Path(__file__).parent / "guestfiles" / "etc"
#: Where distributions keep sudo's plugins, and the only part of PAM that this sudoers leads to.
_SUDO_PARTS = (
    "usr/libexec/sudo/*.so*",
    "usr/lib/sudo/*.so*",
    "lib*/security/pam_permit.so",
    "lib/*/security/pam_permit.so",
)
_PROGRAM_NAME = "nullfs-explorer"
#: What an installation puts on the PATH.
_PROGRAM = """#!/py/bin/python3
import sys
from explorer.cli import main
sys.exit(main())
"""


def _install_tool(root: Path, packages: Path) -> None:
    shutil.copytree(_PACKAGE, root / "app" / "explorer", ignore=shutil.ignore_patterns("__pycache__"))
    for script in _SCRIPTS.glob("*.py"):
        shutil.copy2(script, root / "app" / script.name)
    info = root / "site" / f"{_PROGRAM_NAME.replace('-', '_')}-0.dist-info"
    info.mkdir()
    for name, text in metadata_files().items():
        (info / name).write_text(text)
    packages.mkdir()
    (packages / "lab.pth").write_text("/app\n/site\n")
    program = root / "bin" / _PROGRAM_NAME
    program.parent.mkdir()
    program.write_text(_PROGRAM)
    program.chmod(0o755)


def _install_sudo(root: Path) -> None:
    """The machine's own sudo with its plugins, and what makes ``user`` of the image one who may use it.

    :raises LabError: there is no sudo here
    """
    program = shutil.which("sudo")
    if program is None:
        raise LabError("the lab needs sudo")
    found = [path for pattern in _SUDO_PARTS for path in Path("/").glob(pattern)]
    for source in (Path(program).resolve(), *found):
        target = root / "usr/bin/sudo" if source.name == "sudo" else root / source.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        target.chmod(0o4755 if target.name == "sudo" else 0o644)
    shutil.copytree(_ETC, root / "etc")
    (root / "etc/sudoers").chmod(0o440)


def _stage(root: Path) -> None:
    packages = copy_python(root / "py")
    copy_packages(root / "site")
    _install_tool(root, packages)
    _install_sudo(root)
    for directory in ("py", "site", "app"):
        unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
        compileall.compile_dir(str(root / directory), quiet=2, invalidation_mode=unchecked)
    for library in shared_libraries(root):
        target = root / str(library).lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(library.resolve(), target)
    for directory in ("proc", "sys", "dev", "tmp", "run"):
        (root / directory).mkdir(exist_ok=True)


def _digest() -> str:
    """Changes with whatever goes into the image."""
    digest = hashlib.sha256(sys.version.encode())
    for distribution in sorted(required_packages(), key=lambda found: found.name):
        digest.update(f"{distribution.name} {distribution.version}\n".encode())
    digest.update(repr(metadata_files()).encode())
    package = [path for path in _PACKAGE.rglob("*") if path.is_file() and path.parent.name != "__pycache__"]
    lab = [
        Path(__file__),
        Path(python_tree.__file__),
        *sorted(_SCRIPTS.glob("*.py")),
        *sorted(path for path in _ETC.rglob("*") if path.is_file()),
    ]
    for source in [*lab, *sorted(package)]:
        digest.update(source.read_bytes())
    return digest.hexdigest()[:24]


def build_live_image() -> Path:
    """The image, built once for what is in it.

    :raises LabError: mksquashfs is missing, or refuses.
    """
    return cached_image("live", _digest(), _stage)


def boot_live(kernel: str | Kernel, scenario: str = "live") -> Guest:
    """A guest that has the tool (the scenarios ``live`` and ``walked``), on a kernel or the newest of a line.

    :raises LabError: as :meth:`Guest.boot` and :func:`build_live_image` do.
    """
    return Guest.boot(kernel, scenario, GuestOptions(disk=build_live_image()))
