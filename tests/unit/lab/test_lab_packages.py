"""Which package is a line's newest kernel, and where it comes from."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kernels.lab.errors import LabError, NoSuchKernelError
from tests.kernels.lab.kernels import Kernel, release_key
from tests.kernels.lab.packages import (
    Apt,
    Package,
    PackageSet,
    choose_newest,
    kernel_package_names,
    series_of,
)
from tests.kernels.lab.sources import Mirror, find_mirror, parse_deb822, parse_one_line

NAMES = (
    "linux-image-6.1.0-9-cloud-amd64",
    "linux-image-6.1.0-50-cloud-amd64",
    "linux-image-6.1.0-50-cloud-amd64-dbg",
    "linux-image-6.1.0-50-cloud-amd64-unsigned",
    "linux-image-6.1.0-50-amd64",
    "linux-image-6.1.0-50-rt-amd64",
    "linux-image-6.12.107+deb13-cloud-amd64",
    "linux-image-6.12.107+deb12-cloud-arm64",
    "linux-image-7.3.4+deb13-cloud-amd64",
    "linux-binary-7.3.4+deb13-cloud-amd64",
    "linux-modules-7.3.4+deb13-cloud-amd64",
    "linux-binary-7.3.5+deb13-cloud-amd64",
    "linux-image-7.3.4+deb13-rt-amd64",
    "linux-binary-7.3.4+deb13-rt-amd64",
    "linux-modules-7.3.4+deb13-rt-amd64",
    "linux-image-7.3.4+deb13-amd64",
    "linux-image-7.4-cloud-amd64",
    "linux-binary-7.4-cloud-amd64",
    "linux-modules-7.4-cloud-amd64",
    "linux-binary-7.4-rt-amd64",
    "linux-headers-7.3.4+deb13-cloud-amd64",
    "linux-image-cloud-amd64",
)


def test_a_short_line_does_not_match_a_longer_one() -> None:
    assert kernel_package_names("6.1", NAMES) == {
        "6.1.0-9-cloud-amd64": ("linux-image-6.1.0-9-cloud-amd64",),
        "6.1.0-50-cloud-amd64": ("linux-image-6.1.0-50-cloud-amd64",),
    }


def test_other_flavours_and_architectures_are_no_kernel_of_the_lab() -> None:
    assert list(kernel_package_names("6.12", NAMES)) == ["6.12.107+deb13-cloud-amd64"]


def test_a_binary_whose_modules_left_the_archive_is_taken_only_if_its_line_has_nothing_whole() -> None:
    names = ("linux-image-7.0.9+deb13-cloud-amd64", "linux-binary-7.0.9+deb13-cloud-amd64")
    assert kernel_package_names("7.0", names) == {"7.0.9+deb13-cloud-amd64": (names[1],)}
    assert "7.3.5+deb13-cloud-amd64" not in kernel_package_names("7.3", NAMES)


def test_a_flavour_is_taken_only_by_the_line_that_names_it() -> None:
    assert list(kernel_package_names("6.1-rt", NAMES)) == ["6.1.0-50-rt-amd64"]
    assert list(kernel_package_names("6.1-amd64", NAMES)) == ["6.1.0-50-amd64"]
    assert list(kernel_package_names("7.3-amd64", NAMES)) == ["7.3.4+deb13-amd64"]
    assert kernel_package_names("7.3-rt", NAMES) == {
        "7.3.4+deb13-rt-amd64": (
            "linux-binary-7.3.4+deb13-rt-amd64",
            "linux-modules-7.3.4+deb13-rt-amd64",
        )
    }


def test_a_kernel_without_a_patch_level_is_a_candidate_and_of_no_series_yet() -> None:
    assert kernel_package_names("rc", NAMES) == {
        "7.4-cloud-amd64": ("linux-binary-7.4-cloud-amd64", "linux-modules-7.4-cloud-amd64")
    }
    assert kernel_package_names("7.4", NAMES) == {}
    assert series_of(NAMES) == {"6.1", "6.12", "7.3"}


class ArchiveOf(Apt):
    """An archive that has these packages: name -> version."""

    def __init__(self, versions: dict[str, str]) -> None:
        self.versions = versions

    def _names(self) -> list[str]:
        return list(self.versions)

    def _package(self, name: str) -> Package:
        return Package(name, self.versions[name])


def test_of_candidates_and_what_was_only_just_released_the_newest_is_taken() -> None:
    versions = {
        "linux-image-7.4-cloud-amd64": "7.4~rc7-1~exp1",
        "linux-image-7.5+deb14-cloud-amd64": "7.5-1~exp1",
        "linux-image-7.5-cloud-amd64": "7.5~rc8-1~exp1",
    }
    assert ArchiveOf(versions).resolve("rc").release == "7.5+deb14-cloud-amd64"


def test_a_series_that_no_suite_has_is_told_from_a_mirror_that_does_not_answer() -> None:
    with pytest.raises(NoSuchKernelError, match=r"no suite of .* has a kernel 7\.6"):
        ArchiveOf({"linux-image-7.4.1-cloud-amd64": "7.4.1-1"}).resolve("7.6")


def test_a_split_kernel_is_its_binary_and_modules_and_never_the_empty_image() -> None:
    assert kernel_package_names("7.3", NAMES) == {
        "7.3.4+deb13-cloud-amd64": (
            "linux-binary-7.3.4+deb13-cloud-amd64",
            "linux-modules-7.3.4+deb13-cloud-amd64",
        )
    }


def test_a_line_without_packages_has_no_kernel() -> None:
    assert kernel_package_names("9.9", NAMES) == {}
    assert choose_newest([]) is None


def test_the_newest_is_by_debians_order_of_versions_not_by_text() -> None:
    versions = ("7.3.4-1~bpo13+1", "7.3.10-1~bpo13+1", "7.3.9-1", "7.3.10~rc1-1")
    newest = choose_newest(PackageSet(version, (Package("linux", version),)) for version in versions)
    assert newest is not None
    assert newest.release == "7.3.10-1~bpo13+1"


def test_a_cached_release_is_compared_by_its_numbers() -> None:
    assert max(("6.1.0-9-cloud-amd64", "6.1.0-50-cloud-amd64"), key=release_key) == "6.1.0-50-cloud-amd64"


def test_one_line_sources_give_mirror_and_key() -> None:
    text = """
# deb http://commented.example/debian bookworm main
deb-src http://mirror.example/debian bookworm main
deb [arch=amd64 signed-by=/usr/share/keyrings/k.gpg] http://mirror.example/debian bookworm main contrib # note
"""
    assert list(parse_one_line(text)) == [
        Mirror(
            "http://mirror.example/debian", ("bookworm",), ("main", "contrib"), "/usr/share/keyrings/k.gpg"
        )
    ]


def test_deb822_sources_keep_an_inline_key_and_skip_disabled_entries() -> None:
    text = """Types: deb deb-src
URIs: http://mirror.example/debian
# a comment inside the paragraph
Suites: trixie trixie-updates
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abcd
 -----END PGP PUBLIC KEY BLOCK-----

Types: deb
Enabled: no
URIs: http://other.example/debian
Suites: trixie
Components: main
"""
    (mirror,) = parse_deb822(text)
    assert mirror.uri == "http://mirror.example/debian"
    assert mirror.suites == ("trixie", "trixie-updates")
    assert mirror.signed_by is not None
    assert mirror.signed_by.startswith("\n -----BEGIN")
    assert mirror.is_main_archive


@pytest.fixture
def etc_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("NULLFS_EXPLORER_LAB_MIRROR", raising=False)
    (tmp_path / "sources.list.d").mkdir()
    return tmp_path


def test_the_mirror_is_the_main_archive_not_security_nor_a_disabled_file(etc_apt: Path) -> None:
    (etc_apt / "sources.list").write_text(
        "deb cdrom:[Debian]/ bookworm main\ndeb http://sec.example/debian-security bookworm-security main\n"
    )
    (etc_apt / "sources.list.d/a.list.disabled").write_text("deb http://off.example/debian bookworm main\n")
    (etc_apt / "sources.list.d/b.sources").write_text(
        "Types: deb\nURIs: http://on.example/debian\nSuites: bookworm bookworm-updates\nComponents: main\n"
    )
    assert find_mirror(etc_apt).uri == "http://on.example/debian"


def test_a_machine_without_a_debian_archive_is_told_what_to_set(etc_apt: Path) -> None:
    with pytest.raises(LabError, match="NULLFS_EXPLORER_LAB_MIRROR"):
        find_mirror(etc_apt)


def test_modules_come_after_what_they_depend_on_and_built_in_ones_are_left_out(tmp_path: Path) -> None:
    modules = tmp_path / "modules/fs"
    modules.mkdir(parents=True)
    (modules / "nfs.ko").write_bytes(b"\0license=GPL\0depends=sun-rpc,builtin\0name=nfs\0")
    (modules / "sun_rpc.ko").write_bytes(b"\0depends=\0")
    kernel = Kernel("7.3", "7.3.4", tmp_path)
    assert kernel.with_dependencies(("nfs", "fuse")) == ["sun_rpc", "nfs"]
