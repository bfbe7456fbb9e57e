import pytest

from cnn.data.folders.system_names import is_system_name

OF_SYSTEMS = [
    *("@eaDir", "@EADIR", "@tmp", "@Recycle", "@__thumb", "#recycle", "#snapshot", "$RECYCLE.BIN", "lost+found"),
    *("System Volume Information", "__MACOSX", "Thumbs.db", "THUMBS.DB", "desktop.ini", "ehthumbs.db", "Icon\r"),
    *("__pycache__", "SYNOPHOTO_THUMB_XL.jpg", "SYNOPHOTO:THUMB_S.jpg", "a.jpg@SynoEAStream", "My.photoslibrary"),
]
OF_USERS = [
    "#1",
    "@home",
    "$100",
    "recycled",
    "trash",
    "thumbs",
    "thumbnails",
    "temporary",
    "icon",
    "system",
    "original",
]


@pytest.mark.parametrize("name", OF_SYSTEMS)
def test_what_systems_put_there(name: str) -> None:
    assert is_system_name(name)


@pytest.mark.parametrize("name", OF_USERS)
def test_what_a_class_may_be_called(name: str) -> None:
    assert not is_system_name(name)
