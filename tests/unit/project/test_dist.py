"""What is shipped: the same bytes every time, and a wheel that works where nothing else is."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.metadata import Metadata

from explorer.version import __version__
from tests.audit_deps import judge
from tests.make_dist import ROOT, build
from tests.make_lock import LOCK, extras, lock_of, locks_from

_EPOCH = "1700000000"


def digests(directory: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in build(directory, _EPOCH)}


def test_wheel_and_sdist_are_the_same_bytes_when_built_again(tmp_path: Path) -> None:
    first, second = digests(tmp_path / "a"), digests(tmp_path / "b")
    assert first == second
    assert {name.rpartition(".")[2] for name in first} == {"whl", "gz"}


def metadata_of(archive: Path) -> bytes:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
            return wheel.read(name)
    with tarfile.open(archive) as sdist:
        (name,) = [name for name in sdist.getnames() if re.fullmatch(r"[^/]+/PKG-INFO", name)]
        found = sdist.extractfile(name)
        assert found is not None
        return found.read()


def test_what_wheel_and_sdist_say_of_themselves_is_valid_and_the_same(tmp_path: Path) -> None:
    """make dist asks twine; this is what can be asked of what is locked."""
    wheel, sdist = (
        metadata_of(path) for path in sorted(build(tmp_path, _EPOCH), key=lambda path: path.suffix)[::-1]
    )
    assert wheel == sdist
    said = Metadata.from_email(wheel, validate=True)
    assert (said.name, str(said.version)) == ("nullfs-explorer", __version__)
    assert said.description_content_type == "text/markdown"
    assert said.description == (ROOT / "README.md").read_text()
    assert said.license_expression == "MIT"
    with pytest.raises(ExceptionGroup, match="invalid or unparsed metadata"):
        Metadata.from_email(
            wheel.replace(b"License-Expression: MIT", b"License-Expression: None-Such"), validate=True
        )


def test_the_sdist_holds_the_security_page_and_the_lock_and_nothing_from_outside(tmp_path: Path) -> None:
    (archive,) = [path for path in build(tmp_path, _EPOCH) if path.suffix == ".gz"]
    with tarfile.open(archive) as tar:
        names = tar.getnames()
    assert len({name.split("/")[0] for name in names}) == 1
    inside = {name.partition("/")[2] for name in names}
    assert {
        "SECURITY.md",
        "requirements.lock",
        "requirements-web.lock",
        "README.md",
        "LICENSE",
        "pyproject.toml",
    } <= inside


def test_the_wheel_shows_the_sample_in_a_clean_environment(tmp_path: Path) -> None:
    """Nothing of the checkout is there; the dependencies are those of this environment, by path."""
    (wheel,) = [path for path in build(tmp_path / "dist", _EPOCH) if path.suffix == ".whl"]
    clean = tmp_path / "clean"
    venv.create(clean, with_pip=False, symlinks=True)
    site = next(clean.glob("lib/python3.*/site-packages"))
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*command, "--target", str(site), str(wheel)], check=True, capture_output=True)
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        ours = path.name.startswith(("nullfs", "explorer", "__editable__")) or path.suffix == ".pth"
        if not ours and not (site / path.name).exists():
            (site / path.name).symlink_to(path)
    ran = subprocess.run(
        [clean / "bin" / "python", "-I", "-m", "explorer", "tasks", "sample", "--no-cache"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "isolated" in ran.stdout
    shutil.rmtree(clean)


def locked(path: Path) -> dict[str, str]:
    """Versions by name, as a lock has them."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9_.-]+==\S+ --hash=sha256:[0-9a-f]{64}", line) for line in lines), lines
    return {plain(line.split("==")[0]): line.split("==")[1].split()[0] for line in lines}


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def named(pattern: str) -> set[str]:
    """The packages in a list of ``pyproject.toml``."""
    wanted = re.search(pattern, (ROOT / "pyproject.toml").read_text(), re.MULTILINE | re.DOTALL)
    assert wanted is not None
    return {plain(re.split(r"[><=\[ ;]", name)[0]) for name in re.findall(r'"([^"]+)"', wanted[1])}


def test_each_extra_has_a_lock_and_each_lock_names_every_dependency_with_a_hash_and_no_place_to_get_it_from() -> (
    None
):
    own = named(r"^dependencies = \[(.*?)\]")
    assert own <= set(locked(LOCK))
    assert {"web", "dev"} <= set(extras())
    for extra in extras():
        assert own | named(rf"^{extra} = \[(.*?)\]") <= set(locked(lock_of(extra))), extra
        assert "://" not in lock_of(extra).read_text()
        assert locked(LOCK).items() <= locked(lock_of(extra)).items(), "a version is the same in all of them"
        assert locked(lock_of(extra)).items() <= locked(lock_of("dev")).items()
    assert "://" not in LOCK.read_text()


def test_the_tests_run_on_what_is_locked() -> None:
    head = lock_of("dev").read_text().splitlines()[0]
    if f"CPython {sys.version_info[0]}.{sys.version_info[1]} " not in head:
        pytest.skip(f"the lock is for another Python: {head}")
    wanted = locked(lock_of("dev"))
    assert {name: version(name) for name in wanted} == wanted


def test_a_lock_has_what_an_extra_needs_and_not_what_another_needs() -> None:
    """Of a report such as pip's."""

    def item(name: str, *needs: str) -> dict[str, object]:
        archive = {"archive_info": {"hashes": {"sha256": "0" * 64}}}
        return {"metadata": {"name": name, "version": "1", "requires_dist": needs}, "download_info": archive}

    ours = item(
        "nullfs-explorer", "a", 'b[more]; extra == "web"', 'c; extra == "dev"', 'd; python_version < "3"'
    )
    report = {
        "install": [
            ours,
            item("a"),
            item("b", 'e; extra == "more"', 'f; extra == "less"'),
            item("c"),
            item("e"),
        ]
    }
    names = {path: [line.split("==")[0] for line in lines] for path, lines in locks_from(report).items()}
    assert names[LOCK] == ["a"]
    assert names[lock_of("web")] == ["a", "b", "e"]
    assert names[lock_of("dev")] == ["a", "b", "c", "e"]


def test_the_wheel_holds_nothing_that_does_not_belong_there(tmp_path: Path) -> None:
    """Every file of it is one that is kept in the repository, word for word, and none names this machine."""
    if not (ROOT / ".git").exists():
        pytest.skip("what is kept is known in a checkout alone")
    (wheel,) = [path for path in build(tmp_path, _EPOCH) if path.suffix == ".whl"]
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    kept = {re.sub(r"^plugins/", "explorer/plugins/", path) for path in tracked}
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        assert len(names) > 300
        for name in names:
            content = archive.read(name)
            assert str(ROOT).encode() not in content and b"/root/" not in content, name
            if ".dist-info/" in name:
                known = ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "LICENSE")
                assert name.endswith(known), name
                continue
            source = re.sub(r"^[^/]+\.data/data/share/doc/nullfs-explorer/", "", name)
            source = re.sub(r"^[^/]+\.data/data/share/man/man1/", "man/", source)
            assert source in kept, f"{name} is in the wheel and not in the repository"
            assert content == (ROOT / source).read_bytes(), name


_KNOWN = '{"name": "a", "version": "1", "vulns": [{"id": "PYSEC-1"}]}'
_CLEAN = '{"name": "b", "version": "2", "vulns": []}'
_SKIPPED = '{"name": "c", "skip_reason": "not found"}'


@pytest.mark.parametrize(
    ("output", "found", "unknown"),
    [
        (f'{{"dependencies": [{_KNOWN}, {_CLEAN}]}}', ["a 1: PYSEC-1"], ""),
        (f'{{"dependencies": [{_CLEAN}]}}', [], ""),
        (f'{{"dependencies": [{_KNOWN}, {_SKIPPED}]}}', ["a 1: PYSEC-1"], "1 of 2 packages: not found"),
        ('{"dependencies": []}', [], "no package"),
        ("", [], "it failed: ConnectionError: nobody"),
        ("[]", [], "it failed"),
    ],
)
def test_packages_that_nobody_knows_anything_of_are_not_called_free_of_vulnerabilities(
    output: str, found: list[str], unknown: str
) -> None:
    lines, why = judge(output, "Traceback\nConnectionError: nobody\n")
    assert lines == found
    assert (unknown in why) if unknown else why == ""


@pytest.mark.parametrize("word", ["pickle", "eval(", "exec(", "marshal", "shelve", "yaml"])
def test_nothing_that_runs_data_is_in_the_package(word: str) -> None:
    allowed = {"loading.py"}  # it imports the plugins that the user names
    for path in (ROOT / "explorer").rglob("*.py"):
        if path.name in allowed:
            continue
        code = re.sub(r'""".*?"""|#[^\n]*', "", path.read_text(), flags=re.DOTALL)
        assert not re.search(rf"(?<![\w.\"'-]){re.escape(word)}", code), path
