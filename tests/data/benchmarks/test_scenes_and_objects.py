"""Caltech-101, RAF-DB, SUN397, EuroSAT, DTD, UCF-101 frames, Food-101: miniatures of each layout, whole and damaged."""

from __future__ import annotations

import shutil

import pytest

from fgvr.data.benchmarks import caltech, coop, dtd, eurosat, food101, rafdb, recognise, sun397, ucf101
from fgvr.data.benchmarks.check import check
from fgvr.errors import InputError, ManifestError, NoImagesError
from tests.data.benchmarks.writing import coop_split, images, kinds, shown, text

READERS = {each.NAME: each for each in (caltech, rafdb, sun397, eurosat, dtd, ucf101, food101)}


# --- miniatures -------------------------------------------------------------------------------------------------------


def caltech_layout(root):
    names = ("Faces", "Faces_easy", "BACKGROUND_Google", "water_lilly", "cougar_body", "yin_yang")
    images(root, [f"101_ObjectCategories/{name}/image_000{n}.jpg" for name in names for n in (1, 2)])
    coop_split(
        root,
        "split_zhou_Caltech101.json",
        train=[("Faces/image_0001.jpg", 0, "face"), ("water_lilly/image_0001.jpg", 2, "water_lilly")],
        val=[("cougar_body/image_0001.jpg", 1, "cougar_body")],
        test=[("yin_yang/image_0002.jpg", 3, "yin_yang")],
    )


def rafdb_layout(root):
    text(root, "EmoLabel/list_patition_label.txt", "train_00001.jpg 5", "train_00002.jpg 1", "test_0001.jpg 7")
    images(root, [f"Image/aligned/{name}_aligned.jpg" for name in ("train_00001", "train_00002", "test_0001")])


def sun397_layout(root):
    text(root, "Partitions/ClassName.txt", "/a/abbey", "/c/church/indoor", "/c/church/outdoor", "/h/hotel/outdoor")
    text(root, "Partitions/Training_01.txt", "/a/abbey/sun_a1.jpg", "/c/church/indoor/sun_i1.jpg")
    text(root, "Partitions/Testing_01.txt", "/c/church/outdoor/sun_o1.jpg", "/h/hotel/outdoor/sun_h1.jpg")
    places = ("a/abbey/sun_a1", "c/church/indoor/sun_i1", "c/church/outdoor/sun_o1", "h/hotel/outdoor/sun_h1")
    images(root, [f"SUN397/{place}.jpg" for place in places])
    rows = [(f"{place}.jpg", n, f"class {n}") for n, place in enumerate(places)]
    coop_split(root, "split_zhou_SUN397.json", train=rows[:1], val=rows[1:2], test=rows[2:])


def eurosat_layout(root):
    images(root, [f"2750/{name}/{name}_{n}.jpg" for name in ("AnnualCrop", "SeaLake") for n in (1, 2)])
    coop_split(
        root,
        "split_zhou_EuroSAT.json",
        train=[("AnnualCrop/AnnualCrop_1.jpg", 0, "Annual Crop Land")],
        val=[("SeaLake/SeaLake_1.jpg", 1, "Sea or Lake")],
        test=[("SeaLake/SeaLake_2.jpg", 1, "Sea or Lake")],
    )


def dtd_layout(root):
    names = [f"{name}/{name}_000{n}.jpg" for n in (1, 2, 3) for name in ("banded", "chequered")]
    images(root, [f"images/{name}" for name in names])
    for part, listed in zip(("train", "val", "test"), (names[:2], names[2:4], names[4:]), strict=True):
        text(root, f"labels/{part}1.txt", *listed)
    rows = [(name, int(name.startswith("ch")), name.split("/")[0]) for name in names]
    coop_split(root, "split_zhou_DescribableTextures.json", train=rows[4:], val=rows[2:4], test=rows[:2])


def ucf101_layout(root):
    text(root, "ucfTrainTestlist/classInd.txt", "1 ApplyEyeMakeup", "2 HandstandPushups", "3 YoYo")
    text(
        root,
        "ucfTrainTestlist/trainlist01.txt",
        "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1",
        "HandstandPushups/v_HandStandPushups_g08_c01.avi 2",
    )
    text(root, "ucfTrainTestlist/testlist01.txt", "YoYo/v_YoYo_g01_c01.avi")
    frames = (
        "Apply_Eye_Makeup/v_ApplyEyeMakeup_g08_c01.jpg",
        "Handstand_Pushups/v_HandStandPushups_g08_c01.jpg",
        "Yo_Yo/v_YoYo_g01_c01.jpg",
    )
    images(root, [f"UCF-101-midframes/{frame}" for frame in frames])
    rows = [(frame, n, frame.split("/")[0]) for n, frame in enumerate(frames)]
    coop_split(root, "split_zhou_UCF101.json", train=rows[:1], val=rows[1:2], test=rows[2:])


def food101_layout(root):
    text(root, "meta/classes.txt", "apple_pie", "cup_cakes", "donuts")
    text(root, "meta/labels.txt", "Apple pie", "Cup cakes", "Donuts")
    text(root, "meta/train.txt", "apple_pie/1005649", "cup_cakes/2")
    text(root, "meta/test.txt", "apple_pie/1011328", "donuts/3")
    names = ("apple_pie/1005649", "cup_cakes/2", "apple_pie/1011328", "donuts/3")
    images(root, [f"images/{name}.jpg" for name in names])
    rows = [(f"{name}.jpg", n, name.split("/")[0]) for name, n in zip(names, (0, 1, 0, 2), strict=True)]
    coop_split(root, "split_zhou_Food101.json", train=rows[2:], val=rows[1:2], test=rows[:1])


LAYOUTS = {
    "caltech101": caltech_layout,
    "rafdb": rafdb_layout,
    "sun397": sun397_layout,
    "eurosat": eurosat_layout,
    "dtd": dtd_layout,
    "ucf101": ucf101_layout,
    "food101": food101_layout,
}


@pytest.fixture
def small(tmp_path, request):
    LAYOUTS[request.param](tmp_path)
    return tmp_path


def each(*names: str):
    return pytest.mark.parametrize("small", names, indirect=True)


# --- what is read -----------------------------------------------------------------------------------------------------


@each("caltech101")
def test_caltech_has_no_official_split_and_no_clutter(small):
    found = caltech.read(small)
    assert found.classes == ("face", "cropped face", "body of a cougar", "water lily", "yin yang")
    assert len(found.items) == 10
    assert {item.split for item in found.items} == {None}
    assert not any("BACKGROUND" in item.id for item in found.items)
    assert any("none is official" in note for note in found.notes)
    assert found.items[-1].accepted == ("yin and yang", "taijitu")
    assert caltech.read(small, original_names=True).classes[3] == "water lilly"


@each("caltech101")
def test_caltech_in_coops_split_has_no_cropped_faces(small):
    found = caltech.read(small, split="coop")
    assert found.classes == ("face", "body of a cougar", "water lily", "yin yang")
    assert shown(found) == [
        ("101_ObjectCategories/Faces/image_0001.jpg", "face", "train"),
        ("101_ObjectCategories/cougar_body/image_0001.jpg", "body of a cougar", "val"),
        ("101_ObjectCategories/water_lilly/image_0001.jpg", "water lily", "train"),
        ("101_ObjectCategories/yin_yang/image_0002.jpg", "yin yang", "test"),
    ]


@each("rafdb")
def test_rafdb_numbers_its_emotions_from_one(small):
    found = rafdb.read(small)
    assert shown(found) == [
        ("Image/aligned/test_0001_aligned.jpg", "Neutral", "test"),
        ("Image/aligned/train_00001_aligned.jpg", "Sadness", "train"),
        ("Image/aligned/train_00002_aligned.jpg", "Surprise", "train"),
    ]
    assert found.classes == ("Surprise", "Fear", "Disgust", "Happiness", "Sadness", "Anger", "Neutral")
    assert found.items[1].accepted == ("Sad",)
    with pytest.raises(InputError, match="coop"):
        rafdb.read(small, split="coop")


def test_rafdb_reads_the_original_pictures_below_basic_where_there_are_no_aligned_ones(tmp_path):
    text(tmp_path, "basic/EmoLabel/list_patition_label.txt", "test_0001.jpg 2")
    images(tmp_path, ["basic/Image/original/test_0001.jpg"])
    assert shown(rafdb.read(tmp_path)) == [("basic/Image/original/test_0001.jpg", "Fear", "test")]


def test_rafdbs_emotions_add_up():
    assert {split: sum(counts) for split, counts in rafdb.PER_CLASS.items()} == rafdb.COUNTS
    assert sum(eurosat.PER_CLASS.values()) == eurosat.COUNTS["all"]


@each("sun397")
def test_sun_turns_names_round_and_accepts_the_short_name_of_an_only_child(small):
    found = sun397.read(small)
    assert found.classes == ("abbey", "indoor church", "outdoor church", "outdoor hotel")
    assert [(item.label, item.accepted, item.split) for item in found.items] == [
        ("abbey", (), "train"),
        ("indoor church", (), "train"),  # "church" would be right for both churches
        ("outdoor church", (), "test"),
        ("outdoor hotel", ("hotel",), "test"),
    ]
    assert [item.split for item in sun397.read(small, split="coop").items] == ["train", "val", "test", "test"]


@pytest.mark.parametrize(
    ("folder", "name", "listed"),
    [
        ("a/apartment_building/outdoor", "outdoor apartment building", "outdoor apartment building"),
        ("k/kindergarden_classroom", "kindergarten classroom", "kindergarden classroom"),
        ("t/theater/indoor_procenium", "indoor proscenium theater", "indoor procenium theater"),
        ("w/waterfall/block", "block waterfall", "block waterfall"),
    ],
)
def test_sun_names(folder: str, name: str, listed: str):
    found = sun397.class_name(folder)
    assert (found.name, found.listed) == (name, listed)


def test_suns_lists_are_found_where_archives_put_them(tmp_path):
    sun397_layout(tmp_path)
    shutil.move(tmp_path / "Partitions", tmp_path / "SUN397" / "Partitions")
    shutil.move(tmp_path / "SUN397" / "Partitions" / "ClassName.txt", tmp_path / "SUN397" / "ClassName.txt")
    assert len(sun397.read(tmp_path).items) == 4


@each("eurosat")
def test_eurosat_takes_readable_names(small):
    found = eurosat.read(small)
    assert found.classes == ("Annual Crop Land", "Sea or Lake")
    assert found.items[0].accepted == ("AnnualCrop", "Annual Crop")
    assert {item.split for item in found.items} == {None}
    assert eurosat.read(small, original_names=True).classes == ("AnnualCrop", "SeaLake")
    assert [item.split for item in eurosat.read(small, split="coop").items] == ["train", "val", "test"]


@each("dtd")
def test_dtds_two_splits_are_not_one(small):
    official, other = dtd.read(small), dtd.read(small, split="coop")
    tested = [{item.id for item in found.items if item.split == "test"} for found in (official, other)]
    assert not tested[0] & tested[1]
    assert (official.split, other.split) == ("official", "coop")
    assert official.classes == other.classes == ("banded", "chequered")
    assert official.items[3].accepted == ("checkered",)
    for found in (official, other):
        assert any("never compare" in note for note in found.notes)


@each("ucf101")
def test_ucf_finds_the_frames_of_its_clips(small):
    found = ucf101.read(small)
    assert shown(found) == [
        ("UCF-101-midframes/Apply_Eye_Makeup/v_ApplyEyeMakeup_g08_c01.jpg", "Apply Eye Makeup", "train"),
        ("UCF-101-midframes/Handstand_Pushups/v_HandStandPushups_g08_c01.jpg", "Handstand Push-Ups", "train"),
        ("UCF-101-midframes/Yo_Yo/v_YoYo_g01_c01.jpg", "Yo-Yo", "test"),
    ]
    assert found.items[2].accepted == ("Yo Yo",)
    shutil.rmtree(small / "ucfTrainTestlist")  # CoOp's archive has only the frames
    assert shown(ucf101.read(small, split="coop"))[1][1:] == ("Handstand Push-Ups", "val")


@pytest.mark.parametrize(
    ("action", "folder"), [("YoYo", "Yo_Yo"), ("TaiChi", "Tai_Chi"), ("Skijet", "Skijet"), ("x", "")]
)
def test_frame_folders(action: str, folder: str):
    assert ucf101.frame_folder(action) == folder


@each("food101")
def test_food_takes_its_names_from_the_labels(small):
    found = food101.read(small)
    assert found.classes == ("Apple pie", "Cupcakes", "Donuts")
    assert shown(found)[0] == ("images/apple_pie/1005649.jpg", "Apple pie", "train")
    by_label = {item.label: item.accepted for item in found.items}
    assert by_label["Cupcakes"] == ("Cup cakes", "Cupcake")
    assert "Doughnuts" in by_label["Donuts"]
    assert food101.read(small, original_names=True).classes[1] == "Cup cakes"
    shutil.rmtree(small / "meta")
    assert food101.read(small, split="coop").classes == ("Apple pie", "Cupcakes", "Donuts")


# --- for all ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("small", sorted(LAYOUTS), indirect=True)
def test_a_miniature_is_told_from_the_whole(small, request):
    reader = READERS[request.node.callspec.params["small"]]
    found = reader.read(small)
    assert (found.name, found.title, found.root) == (reader.NAME, reader.TITLE, small)
    assert "wrong count" in kinds(found)
    assert "missing images" not in kinds(found)
    assert all(problem.serious for problem in found.problems)
    assert [item.id for item in found.items] == sorted(item.id for item in found.items)
    assert all(item.path.is_file() and item.label in found.classes for item in found.items)
    assert "corrected" in found.notes[0]


@pytest.mark.parametrize("small", sorted(LAYOUTS), indirect=True)
def test_no_problem_is_seen_where_there_is_none(small, request, monkeypatch):
    """With the miniature's own sizes as the expected ones, every reader is content."""
    name = request.node.callspec.params["small"]
    reader = READERS[name]
    found = reader.read(small)
    counts = {split or "all": 0 for split in (item.split for item in found.items)}
    for item in found.items:
        counts[item.split or "all"] += 1
    monkeypatch.setattr(reader, "COUNTS", counts)
    monkeypatch.setattr(reader, "CLASSES", len(found.classes))
    if name in ("eurosat", "rafdb"):
        monkeypatch.setattr(reader, "PER_CLASS", {"AnnualCrop": 2, "SeaLake": 2} if name == "eurosat" else {})
    again = [problem for problem in reader.read(small).problems if problem.kind != "wrong checksum"]
    assert again == []


@pytest.mark.parametrize("small", sorted(LAYOUTS), indirect=True)
def test_a_miniature_is_recognised_and_looked_through(small, request):
    name = request.node.callspec.params["small"]
    assert recognise(small) == name
    report = check(small)
    assert (report.name, report.opened) == (name, True)
    assert "unreadable" not in {aside.reason for aside in report.set_aside}
    assert sum(split.images for split in report.splits) == len(READERS[name].read(small).items)


@pytest.mark.parametrize("small", sorted(set(LAYOUTS) - {"rafdb"}), indirect=True)
def test_an_unknown_split_is_refused(small, request):
    with pytest.raises(InputError, match="random"):
        READERS[request.node.callspec.params["small"]].read(small, split="random")


@pytest.mark.parametrize("small", sorted(LAYOUTS), indirect=True)
def test_missing_pictures_are_set_aside_and_all_missing_is_an_error(small, request):
    reader = READERS[request.node.callspec.params["small"]]
    split = "official" if reader is rafdb else "coop"
    first = reader.read(small, split=split).items[0]
    first.path.unlink()
    found = reader.read(small, split=split)
    assert [(aside.id, aside.reason) for aside in found.set_aside] == [(first.id, "missing")]
    assert "missing images" in kinds(found)
    for picture in small.rglob("*.jpg"):
        picture.unlink()
    with pytest.raises(NoImagesError):
        reader.read(small, split=split)


DAMAGE = [
    ("rafdb", "EmoLabel/list_patition_label.txt", "train_00001.jpg 8"),
    ("rafdb", "EmoLabel/list_patition_label.txt", "train_00001.jpg"),
    ("rafdb", "EmoLabel/list_patition_label.txt", "valid_00001.jpg 3"),
    ("sun397", "Partitions/ClassName.txt", "a/abbey"),
    ("sun397", "Partitions/Training_01.txt", "/z/zoo/sun_1.jpg"),
    ("dtd", "labels/val1.txt", "banded_0001.jpg"),
    ("dtd", "labels/val1.txt", "a/b/c.jpg"),
    ("ucf101", "ucfTrainTestlist/classInd.txt", "2 ApplyEyeMakeup"),
    ("ucf101", "ucfTrainTestlist/trainlist01.txt", "Unknown/v_Unknown_g01_c01.avi 1"),
    ("ucf101", "ucfTrainTestlist/testlist01.txt", "YoYo/v_YoYo_g01_c01.jpg"),
    ("food101", "meta/train.txt", "unknown/1"),
    ("food101", "meta/train.txt", "apple_pie"),
    ("food101", "meta/labels.txt", "Apple pie"),
]


@pytest.mark.parametrize(("small", "file", "line"), DAMAGE, indirect=["small"])
def test_a_damaged_list_is_named(small, file: str, line: str, request):
    text(small, file, line)
    with pytest.raises(ManifestError, match="damaged") as raised:
        READERS[request.node.callspec.params["small"]].read(small)
    assert raised.value.context["file"] == str(small / file)
    assert raised.value.remedy


@pytest.mark.parametrize(
    ("small", "file"),
    [(name, file) for name, file, _ in DAMAGE if file != "meta/labels.txt"],
    indirect=["small"],
)
def test_a_missing_list_is_named(small, file: str, request):
    (small / file).unlink()
    with pytest.raises(ManifestError, match="missing") as raised:
        READERS[request.node.callspec.params["small"]].read(small)
    assert str(raised.value.context["file"]).endswith(file)


def test_coops_class_counts_are_the_readers():
    for name, reader in READERS.items():
        if name not in ("rafdb", "caltech101"):
            assert coop.FILES[name].classes == reader.CLASSES
