"""The curation file: read, checked and applied to an atlas; and clusters that keep their numbers between builds."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from drawn_atlas import drawn_atlas

from atlas.curation.apply import anchors_of, leave_out, notes, resolve
from atlas.curation.file import CurationFile, read_curation
from atlas.errors import ConfigurationError
from atlas.patterns.numbering import Identities, Identity, match_clusters, number_clusters, read_identities, write_identities
from atlas.pipeline.cohort import DEMO_COUNT
from atlas.records import Atlas, Clusters, Stop, Words
from atlas.resources import demo_curation

A, B, C = "0123456789abcdef", "fedcba9876543210", "00000000000000aa"
WHOLE = f"""
[images.{A}]
title = "A quiet eye"
note = '''
Look at the disc first.

Then follow the arcades.'''

[clusters.7]
title = "Hard exudates"
note = "Waxy, sharply edged."
patches = ["{A}-0203w2", "{B}-1011w2"]

[clusters.12]
title = "Rims"

[pins]
images = ["{B}", "{A}"]
clusters = [12, 7]
patches = ["{A}-0203w2"]

[exclude]
images = ["{C}"]
clusters = [3]
patches = ["{B}-0000w1"]

[[lessons]]
title = "From the first red dot"
summary = "Five stops."

[[lessons.stops]]
image = "{A}"
title = "Start"
text = "Nothing here."

[[lessons.stops]]
cluster = 7
text = "Now these."

[[lessons.stops]]
patch = "{A}-0203w2"

[[lessons]]
title = "Ретинопатия"
"""


def write(folder: Path, text: str) -> Path:
    file = folder / "curation.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_every_key_is_read(tmp_path: Path) -> None:
    found = read_curation(write(tmp_path, WHOLE))
    assert found.images[A].title == "A quiet eye"
    assert found.images[A].note == "Look at the disc first.\n\nThen follow the arcades."
    assert found.clusters[7].patches == (f"{A}-0203w2", f"{B}-1011w2")
    assert found.clusters[12].title == "Rims"
    assert (found.pins.images, found.pins.clusters, found.pins.patches) == ((B, A), (12, 7), (f"{A}-0203w2",))
    assert (found.exclude.images, found.exclude.clusters, found.exclude.patches) == ((C,), (3,), (f"{B}-0000w1",))
    assert [slug for slug, _ in found.pages()] == ["from-the-first-red-dot", "lesson-2"]
    assert [(stop.image, stop.cluster, stop.patch) for stop in found.lessons[0].stops] == [
        (A, None, None),
        (None, 7, None),
        (None, None, f"{A}-0203w2"),
    ]


def test_an_empty_file_is_a_curation(tmp_path: Path) -> None:
    assert read_curation(write(tmp_path, "")) == CurationFile()


@pytest.mark.parametrize(
    ("text", "key", "expected"),
    [
        ('colour = "red"', "colour", "images, clusters, pins, exclude or lessons"),
        ('[images.10_left]\ntitle = "x"', "images.10_left", "an image id, 16 of the digits"),
        (f'[images.{A}]\nheading = "x"', f"images.{A}.heading", "title or note"),
        (f"[images.{A}]\ntitle = 7", f"images.{A}.title", "text in quotes"),
        (f'[images.{A}]\ntitle = "a\\nb"', f"images.{A}.title", "one line"),
        (f'[images.{A}]\ntitle = "{"x" * 121}"', f"images.{A}.title", "at most 120 characters"),
        (f'[images.{A}]\nnote = "{"x" * 4001}"', f"images.{A}.note", "at most 4000 characters"),
        (f'images = ["{A}"]', "images", "a table"),
        ('[clusters.seven]\ntitle = "x"', "clusters.seven", "a cluster's number"),
        ('[clusters.07]\ntitle = "x"', "clusters.07", "a cluster's number"),
        ('[clusters.7]\npatches = ["x"]', "clusters.7.patches[1]", "a patch id such as"),
        ('[clusters.7]\npatches = "x"', "clusters.7.patches", "a list in square brackets"),
        ("[clusters.7]\npin = true", "clusters.7.pin", "title, note or patches"),
        (f'[pins]\nimages = ["{A}", "nobody"]', "pins.images[2]", "an image id"),
        ("[pins]\nclusters = [0]", "pins.clusters[1]", "a cluster's number"),
        ('[pins]\nphotographs = ["x"]', "pins.photographs", "images, clusters or patches"),
        ('[exclude]\npatches = ["x-0203w2"]', "exclude.patches[1]", "a patch id"),
        ('[[lessons]]\nsummary = "x"', "lessons[1].title", "is missing"),
        ('[[lessons]]\ntitle = ""', "lessons[1].title", "at least one character"),
        ('[[lessons]]\ntitle = "x"\nslug = "No Spaces"', "lessons[1].slug", "lower-case letters"),
        ('[[lessons]]\ntitle = "x"\nsteps = []', "lessons[1].steps", "title, slug, summary or stops"),
        ('[[lessons]]\ntitle = "x"\n[[lessons]]\ntitle = "X!"', "lessons/x.html", "another slug"),
        ('[[lessons]]\ntitle = "x"\n[[lessons.stops]]\ntext = "y"', "lessons[1].stops[1]", "exactly one of image, cluster"),
        (f'[[lessons]]\ntitle = "x"\n[[lessons.stops]]\nimage = "{A}"\ncluster = 2', "lessons[1].stops[1]", "exactly one of"),
        (
            f'[[lessons]]\ntitle = "x"\n[[lessons.stops]]\nimage = "{A}"\nwords = ""',
            "lessons[1].stops[1].words",
            "image, cluster",
        ),
    ],
)
def test_a_fault_names_its_key_and_what_was_expected(tmp_path: Path, text: str, key: str, expected: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(ConfigurationError) as caught:
        read_curation(file)
    (line,) = [line for line in caught.value.message.splitlines() if key in line]
    assert expected in line
    assert str(file) in caught.value.message


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"(?s)3 faults in .*images\.x.*pins\.clusters\[1\].*lessons\[1\]\.title"):
        read_curation(write(tmp_path, '[images.x]\n[pins]\nclusters = ["y"]\n[[lessons]]\n'))


def test_a_file_that_is_missing_or_not_toml_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.toml"):
        read_curation(tmp_path / "nowhere.toml")
    with pytest.raises(ConfigurationError, match=r"curation\.toml.*TOML"):
        read_curation(write(tmp_path, "[images"))


def test_names_stand_for_ids_only_where_names_are_given(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        '[images."7_left"]\ntitle = "7_left"\n[pins]\npatches = ["7_left-0203w2"]\n'
        '[[lessons]]\ntitle = "x"\n[[lessons.stops]]\nimage = "7_left"\n',
    )
    found = read_curation(file, names={"7_left": A})
    assert found.images[A].title == "7_left"
    assert found.pins.patches == (f"{A}-0203w2",)
    assert found.lessons[0].stops[0].image == A
    with pytest.raises(ConfigurationError, match="7_left"):
        read_curation(file)


# ---- Clusters from build to build


def grouped(*groups: str, centroids: list[list[float]] | None = None) -> Clusters:
    """Clusters of one-letter patches, in the order of labels."""
    pairs = sorted((patch, label) for label, group in enumerate(groups) for patch in group)
    places = np.array(centroids if centroids is not None else [[float(k), 0.0] for k in range(len(groups))], np.float32)
    return Clusters(
        tuple(patch for patch, _ in pairs),
        np.array([label for _, label in pairs], np.int64),
        places,
        np.zeros(len(pairs), np.float32),
    )


def built(*groups: str, tmp_path: Path, before: Identities | None = None, **more: list[list[float]]) -> Identities:
    """What a build of these clusters leaves behind."""
    numbered, _ = number_clusters(grouped(*groups, **more), before or Identities(), space="space")
    write_identities(tmp_path / "clusters.json", numbered, "space", before or Identities())
    return read_identities(tmp_path / "clusters.json")


def numbers(before: Identities, *groups: str, space: str = "space", **more: list[list[float]]) -> dict[str, int]:
    """Give each group's number in a build after `before`."""
    numbered, _ = number_clusters(grouped(*groups, **more), before, space=space)
    return dict(zip(groups, numbered.shown, strict=True))


def changes(before: Identities, *groups: str) -> str:
    return " ".join(number_clusters(grouped(*groups), before, space="space")[1])


def test_a_first_build_counts_from_the_largest_cluster() -> None:
    assert numbers(Identities(), "abcd", "efg", "hi") == {"abcd": 1, "efg": 2, "hi": 3}
    assert changes(Identities(), "abcd", "efg") == ""


def test_the_same_clusters_in_another_order_keep_their_numbers(tmp_path: Path) -> None:
    before = built("abcd", "efg", "hi", tmp_path=tmp_path)
    assert numbers(before, "efg", "hi", "abcd") == {"abcd": 1, "efg": 2, "hi": 3}
    assert changes(before, "efg", "hi", "abcd") == ""


def test_clusters_that_grew_and_swapped_patches_keep_their_numbers(tmp_path: Path) -> None:
    before = built("abcdef", "ghij", "klm", tmp_path=tmp_path)
    assert numbers(before, "ghijfuvwxyz", "abcde", "klmn") == {"ghijfuvwxyz": 2, "abcde": 1, "klmn": 3}


def test_of_a_cluster_that_split_the_larger_part_keeps_the_number(tmp_path: Path) -> None:
    before = built("abcdefgh", "klm", tmp_path=tmp_path)
    assert numbers(before, "klm", "abcde", "fgh") == {"klm": 2, "abcde": 1, "fgh": 3}
    assert "New clusters in this build: 3 (most of its patches were in cluster 1)" in changes(before, "klm", "abcde", "fgh")


def test_of_two_clusters_that_merged_the_larger_keeps_its_number_and_the_other_is_told(tmp_path: Path) -> None:
    before = built("abcdef", "ghi", "klm", tmp_path=tmp_path)
    assert numbers(before, "abcdefghi", "klm") == {"abcdefghi": 1, "klm": 3}
    assert "match none of this build: 2 (most of its patches are now in cluster 1)" in changes(before, "abcdefghi", "klm")


def test_a_number_that_is_free_again_is_not_used_again_but_its_own_cluster_may_return(tmp_path: Path) -> None:
    first = built("abcdef", "ghi", "klm", tmp_path=tmp_path)
    second = built("abcdef", "klm", "xyz", tmp_path=tmp_path, before=first)
    assert [(one.number, one.live) for one in second.clusters] == [(1, True), (2, False), (3, True), (4, True)]
    assert numbers(second, "abcdef", "klm", "ghi", "uvw") == {"abcdef": 1, "klm": 3, "ghi": 2, "uvw": 5}


def test_a_name_does_not_pass_to_a_heap_that_swallowed_its_cluster(tmp_path: Path) -> None:
    before = built("abcdefghijkl", "mnopqrst", "uv", tmp_path=tmp_path)
    assert sorted(numbers(before, "abcdefghijklmnopqrstuv").values()) == [1]
    assert numbers(before, "uvmnopqrst", "abcdefghijkl") == {"uvmnopqrst": 2, "abcdefghijkl": 1}


def test_without_common_patches_near_centroids_decide_where_descriptors_are_the_same(tmp_path: Path) -> None:
    places = [[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]]
    before = built("abc", "def", "ghi", tmp_path=tmp_path, centroids=places)
    moved = {"centroids": [[9.0, 1.0], [0.5, 0.5], [40.0, 40.0]]}
    assert numbers(before, "xyz", "uvw", "rst", **moved) == {"xyz": 2, "uvw": 1, "rst": 4}
    assert numbers(before, "xyz", "uvw", "rst", space="another", **moved) == {"xyz": 4, "uvw": 5, "rst": 6}


def test_common_patches_speak_louder_than_centroids(tmp_path: Path) -> None:
    before = built("abc", "def", tmp_path=tmp_path, centroids=[[0.0, 0.0], [1.0, 0.0]])
    assert numbers(before, "abc", "def", centroids=[[1.0, 0.0], [0.0, 0.0]]) == {"abc": 1, "def": 2}


def test_a_sample_of_patches_finds_its_cluster() -> None:
    sample = Identities((Identity(9, ("a", "b", "z"), whole=False), Identity(4, ("k",), whole=False)))
    assert match_clusters(sample, grouped("kl", "abcdefg")) == {0: 4, 1: 9}
    assert match_clusters(Identities((Identity(9, ("a", "k", "l"), whole=False),)), grouped("abc", "k", "l")) == {}


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    before = built("abcd", "efg", tmp_path=tmp_path)
    for turn in range(2):
        numbered, _ = number_clusters(grouped("efgh", "abc"), before, space="space")
        write_identities(tmp_path / f"{turn}.json", numbered, "space", before)
    assert (tmp_path / "0.json").read_bytes() == (tmp_path / "1.json").read_bytes()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"space": "x", "clusters": [{"number": 1}]}'])
def test_a_damaged_table_counts_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "clusters.json").write_text(text)
    assert read_identities(tmp_path / "clusters.json") == Identities()


# ---- A curation over an atlas


@pytest.fixture
def atlas(tmp_path: Path) -> Atlas:
    return drawn_atlas(tmp_path / "pictures")


def curated(folder: Path, text: str) -> CurationFile:
    return read_curation(write(folder, text))


def test_words_pins_and_lessons_reach_the_atlas(tmp_path: Path, atlas: Atlas) -> None:
    assert atlas.patches is not None
    image, other = atlas.dataset.image_ids[:2]
    patch = atlas.patches.patch_ids[0]
    made = resolve(
        curated(
            tmp_path,
            f'[images.{image}]\ntitle = "Quiet"\n[clusters.2]\nnote = "Rims"\n[pins]\nimages = ["{other}"]\nclusters = [3]\n'
            f'patches = ["{patch}"]\n[[lessons]]\ntitle = "One"\n[[lessons.stops]]\nimage = "{image}"\ntext = "See."\n'
            f'[[lessons.stops]]\ncluster = 2\n[[lessons.stops]]\npatch = "{patch}"\n',
        ),
        atlas,
    ).curation
    assert made.images == {image: Words("Quiet", "")}
    assert made.clusters == {2: Words("", "Rims")}
    assert (made.pinned_images, made.pinned_clusters, made.pinned_patches) == ((other,), (3,), (patch,))
    (lesson,) = made.lessons
    assert lesson.stops == (Stop("", "See.", image=image), Stop("", "", cluster=2), Stop("", "", patch=patch))
    assert made.unmatched == ()
    assert list(notes(made)) == []


def test_what_the_atlas_does_not_hold_is_told_and_stays_in_the_file(tmp_path: Path, atlas: Atlas) -> None:
    image = atlas.dataset.image_ids[0]
    text = (
        f'[images.{A}]\ntitle = "Lost"\n[clusters.44]\ntitle = "Gone"\n[pins]\nimages = ["{A}"]\nclusters = [45]\n'
        f'patches = ["{A}-0000w1"]\n[exclude]\nimages = ["{B}"]\n[[lessons]]\ntitle = "One"\n[[lessons.stops]]\nimage = "{A}"\n'
        f'text = "Was here"\n[[lessons.stops]]\nimage = "{image}"\n'
    )
    made = resolve(curated(tmp_path, text), atlas).curation
    told = "\n".join(made.unmatched)
    for key in (f"images.{A}", "clusters.44", "pins.images", "pins.clusters", "pins.patches", "exclude.images"):
        assert f"{key}: " in told
    assert "lessons[1].stops[1]: " in told
    assert "“Was here”" in told
    assert [stop.image for stop in made.lessons[0].stops] == [image]
    assert (
        CurationFile.model_validate(made.file).model_dump()
        == curated(tmp_path, text).model_copy(update={"lessons": CurationFile.model_validate(made.file).lessons}).model_dump()
    )
    assert len(made.file["lessons"][0]["stops"]) == 2
    assert "7 things" in " ".join(notes(made))


def test_a_title_follows_its_patches_to_another_number(tmp_path: Path, atlas: Atlas) -> None:
    assert atlas.clusters is not None
    members = [patch for patch, number in atlas.clusters.of_patch.items() if number == 3][:3]
    file = curated(
        tmp_path,
        f'[clusters.1]\ntitle = "Dots"\npatches = {list(members)}\n[clusters.2]\ntitle = "Lost"\npatches = ["{A}-0000w1"]\n'
        '[pins]\nclusters = [1]\n[[lessons]]\ntitle = "One"\n[[lessons.stops]]\ncluster = 1\n',
    )
    made = resolve(file, atlas).curation
    assert made.clusters == {3: Words("Dots", "")}
    assert made.pinned_clusters == (3,)
    assert made.lessons[0].stops[0].cluster == 3
    assert made.file["clusters"]["3"]["title"] == "Dots"
    (lost,) = [key for key, entry in made.file["clusters"].items() if entry["title"] == "Lost"]
    assert int(lost) not in atlas.clusters.shown, "an entry that matches nothing must not pass to another cluster"
    assert [line.split(":")[0] for line in made.unmatched] == ["clusters.2"]


def test_patches_in_the_file_give_a_first_build_its_numbers(atlas: Atlas) -> None:
    assert atlas.clusters is not None
    members = tuple(patch for patch, number in atlas.clusters.of_patch.items() if number == 1)
    file = CurationFile.model_validate({"clusters": {"7": {"title": "Dots", "patches": members[:3]}}})
    numbered, said = number_clusters(atlas.clusters, Identities(), anchors_of(file), reserved=file.clusters)
    assert numbered.shown == (7, 1, 2)
    assert said == ()
    assert resolve(file, dataclasses.replace(atlas, clusters=numbered)).curation.clusters == {7: Words("Dots", "")}


def test_what_is_left_out_is_gone_and_counted(tmp_path: Path, atlas: Atlas) -> None:
    assert atlas.patches is not None
    assert atlas.clusters is not None
    image, patch = atlas.dataset.image_ids[0], atlas.patches.patch_ids[-1]
    file = curated(tmp_path, f'[exclude]\nimages = ["{image}"]\nclusters = [2]\npatches = ["{patch}"]\n')
    assert leave_out(atlas.dataset, file).image_ids == atlas.dataset.image_ids[1:]
    made = resolve(file, dataclasses.replace(atlas, dataset=leave_out(atlas.dataset, file)), left_out=[image])
    assert made.patches is not None
    assert made.clusters is not None
    assert made.embedding is not None
    assert patch not in made.patches.patch_ids
    assert patch not in made.embedding.patch_ids
    assert set(made.clusters.of_patch.values()) == {1, 3}
    assert set(made.clusters.patch_ids) < set(made.patches.patch_ids)
    assert made.curation.unmatched == ()
    assert "1 photograph, 1 cluster and 1 patch" in " ".join(notes(made.curation))


def test_a_stop_at_what_is_left_out_is_told(tmp_path: Path, atlas: Atlas) -> None:
    image = atlas.dataset.image_ids[0]
    file = curated(
        tmp_path,
        f'[exclude]\nimages = ["{image}"]\nclusters = [2]\n[[lessons]]\ntitle = "One"\n'
        f'[[lessons.stops]]\nimage = "{image}"\n[[lessons.stops]]\ncluster = 2\n',
    )
    made = resolve(file, dataclasses.replace(atlas, dataset=leave_out(atlas.dataset, file)), left_out=[image]).curation
    assert made.lessons[0].stops == ()
    assert len(made.unmatched) == 2


def test_the_sample_speaks_of_eyes_of_the_embedded_cohort() -> None:
    cohort = [f"{patient + 1:04d}_{eye}" for patient in range(DEMO_COUNT // 2) for eye in ("left", "right")]
    ids = {name: f"{place:016x}" for place, name in enumerate(cohort)}
    found = read_curation(demo_curation(), names=ids)
    assert set(found.images) <= set(ids.values())
    assert len(found.lessons) >= 2
    assert all(lesson.stops for lesson in found.lessons)
    assert all(entry.patches for entry in found.clusters.values())
