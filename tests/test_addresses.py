"""Inputs and atlases in a bucket: copied as far as they changed, carried with the home page last, and nobody else's file touched.

The bucket is moto's, a server that answers as S3 does, reached over HTTP by s3fs: the code runs as it does with a real one.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import command

from atlas import build_atlas, load_configuration, write_cohort
from atlas.errors import ConfigurationError, StoreError
from atlas.pipeline.addresses import Place, address_of, brought_here, carry_out, folder_of
from atlas.pipeline.store import Store
from atlas.pipeline.unchanged import is_unchanged

needs_s3 = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("moto", "s3fs", "flask")), reason="moto or s3fs is not installed"
)

SERVER = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
server.stop()
"""


@pytest.fixture(scope="module")
def bucket() -> Iterator[Any]:
    """A bucket `clinic` on a server of this machine; fsspec's file system that reaches it."""
    with subprocess.Popen([sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        endpoint = f"http://127.0.0.1:{server.stdout.readline().strip()}"
        own = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}
        with pytest.MonkeyPatch.context() as patch:
            for name, value in {**own, "AWS_ENDPOINT_URL": endpoint}.items():
                patch.setenv(name, value)
            files = Place.at("s3://clinic/any").files
            files.mkdir("clinic")
            yield files
        server.terminate()


@pytest.fixture(scope="module")
def eyes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("eyes")
    write_cohort(10, folder, seed=5, size=160)
    return folder


def light(**more: Any) -> dict[str, Any]:
    return {"scorer": "synthetic-alexnet", "lesion_net": "none", "clusters": 2, "workers": 1, **more}


def held(files: Any, root: str) -> dict[str, bytes]:
    return {name.removeprefix(f"{root}/"): files.cat_file(name) for name in files.find(root)}


def here(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@needs_s3
def test_an_atlas_of_photographs_in_a_bucket_is_that_of_a_folder_and_lies_in_a_bucket(
    bucket: Any, eyes: Path, tmp_path: Path
) -> None:
    bucket.put(str(eyes / "images"), "clinic/SecretWard/images", recursive=True)
    bucket.put_file(str(eyes / "grades.csv"), "clinic/SecretWard/grades.csv")
    build_atlas(
        load_configuration(
            **light(images=eyes / "images", grades=eyes / "grades.csv", store=tmp_path / "a", out=tmp_path / "out")
        )
    )
    at = {
        "images": "s3://clinic/SecretWard/images",
        "grades": "s3://clinic/SecretWard/grades.csv",
        "out": "s3://clinic/www/atlas",
    }
    configuration = load_configuration(**light(store=tmp_path / "store", **at))
    result = build_atlas(configuration)
    assert result.address == "s3://clinic/www/atlas"
    assert held(bucket, "clinic/www/atlas") == here(tmp_path / "out")
    assert bucket.info("clinic/www/atlas/index.html")["ContentType"] == "text/html"
    assert not [name for name, content in held(bucket, "clinic/www/atlas").items() if b"SecretWard" in content]
    assert is_unchanged(configuration)

    arguments = [f"--{name.replace('_', '-')}={value}" for name, value in light(store=tmp_path / "store", **at).items()]
    done = command("build", at["images"], *(one for one in arguments if not one.startswith("--images")))
    assert done.returncode == 0, done.stderr
    assert "Nothing has changed" in done.stdout
    assert "s3://clinic/www/atlas/index.html" in done.stdout

    bucket.pipe_file("clinic/www/atlas/my-notes.txt", b"mine")
    bucket.rm("clinic/www/atlas/index.html")
    bucket.pipe_file("clinic/www/atlas/files.txt", b"# another\nold-page.html\n")
    bucket.pipe_file("clinic/www/atlas/old-page.html", b"an old one")
    assert not is_unchanged(configuration)
    build_atlas(configuration)
    now = held(bucket, "clinic/www/atlas")
    assert now.pop("my-notes.txt") == b"mine"
    assert now == here(tmp_path / "out")


@needs_s3
def test_inputs_are_copied_as_far_as_they_changed(bucket: Any, tmp_path: Path) -> None:
    for name in ("a/1.jpg", "a/2.jpg", "3.jpg"):
        bucket.pipe_file(f"clinic/photos/{name}", name.encode())
    store = Store(tmp_path)
    configuration = load_configuration(images="s3://clinic/photos", store=tmp_path)
    local, addresses = brought_here(configuration, store)
    assert addresses == {"images": "s3://clinic/photos"}
    assert local.images is not None
    assert here(local.images) == {name: name.encode() for name in ("a/1.jpg", "a/2.jpg", "3.jpg")}
    kept = (local.images / "a" / "1.jpg").stat().st_ino
    bucket.pipe_file("clinic/photos/a/2.jpg", b"other")
    bucket.rm("clinic/photos/3.jpg")
    brought_here(configuration, store)
    assert here(local.images) == {"a/1.jpg": b"a/1.jpg", "a/2.jpg": b"other"}
    assert (local.images / "a" / "1.jpg").stat().st_ino == kept


@needs_s3
def test_the_home_page_comes_last_and_pages_after_what_they_show(bucket: Any, tmp_path: Path) -> None:
    names = ["index.html", "run.json", "images/1.html", "photographs/1.jpg", "data/map.js", "files.txt"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("\n".join(sorted(names)) if name == "files.txt" else name)
    carry_out(tmp_path, "s3://clinic/ordered")
    place = Place.at("s3://clinic/ordered")
    assert set(place.listed()) == set(names)
    order: list[str] = []
    original = Place.put

    def put(self: Place, some: Any, folder: Path) -> None:
        order.extend(some)
        original(self, some, folder)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Place, "put", put)
        carry_out(tmp_path, "s3://clinic/ordered")
    assert order[-3:] == ["images/1.html", "index.html", "files.txt"]


@needs_s3
def test_what_is_no_atlas_is_not_written_to_and_errors_name_the_address(bucket: Any, eyes: Path, tmp_path: Path) -> None:
    bucket.pipe_file("clinic/theirs/report.txt", b"theirs")
    common = light(images=eyes / "images", store=tmp_path / "store")
    with pytest.raises(StoreError, match="s3://clinic/theirs: already exists and is not an atlas"):
        build_atlas(load_configuration(**common, out="s3://clinic/theirs"))
    assert held(bucket, "clinic/theirs") == {"report.txt": b"theirs"}
    with pytest.raises(StoreError, match="s3://clinic/nothing: there is nothing"):
        build_atlas(load_configuration(**light(images="s3://clinic/nothing", store=tmp_path / "store", out=tmp_path / "out")))
    with pytest.raises(StoreError, match="s3://no-such-bucket/x: cannot be reached"):
        Place.at("s3://no-such-bucket/x").put(["grades.csv"], eyes)


def test_an_address_is_told_from_a_path() -> None:
    told = {path: address_of(Path(path)) for path in ("s3://b/x/y/", "gs://b", "/tmp/x", "C:/x", "a:b/c", "x/y", "~/x")}
    assert {path: address for path, address in told.items() if address} == {"s3://b/x/y/": "s3://b/x/y", "gs://b": "gs://b"}
    assert address_of(None) is None


def test_a_file_address_is_its_path(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    configuration = load_configuration(images=f"file://{tmp_path}/photos", out=f"file://{tmp_path}/atlas", store=store.root)
    local, addresses = brought_here(configuration, store)
    assert (local.images, local.out, dict(addresses)) == (tmp_path / "photos", tmp_path / "atlas", {})
    assert folder_of(Path("s3://b/x"), store).is_relative_to(store.root)


def test_addresses_in_a_settings_file_are_not_taken_for_paths_beside_it(tmp_path: Path) -> None:
    (tmp_path / "atlas.toml").write_text('images = "s3://clinic/photos"\nout = "atlas"\n')
    configuration = load_configuration(tmp_path / "atlas.toml")
    assert (address_of(configuration.images), configuration.out) == ("s3://clinic/photos", tmp_path / "atlas")


def test_addresses_that_nothing_reads_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="store = s3://clinic/store: the store must be a folder"):
        brought_here(load_configuration(store="s3://clinic/store"), Store(tmp_path))
    with pytest.raises(ConfigurationError, match="odd-kind://clinic/photos: "):
        brought_here(load_configuration(images="odd-kind://clinic/photos"), Store(tmp_path))
