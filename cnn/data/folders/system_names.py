"""Names of the files and folders that systems, NAS boxes and other programs put among a user's photographs."""

# In lower case. None of them is a plausible name of a class.
_NAMES = frozenset(
    {
        # Synology and Asustor
        "@eadir",
        "@tmp",
        "@sharebin",
        "@synoresource",
        "@synoeastream",
        "#recycle",
        "#snapshot",
        # QNAP and TerraMaster
        "@recycle",
        "@recently-snapshot",
        "@transcode",
        "@__thumb",
        # Windows
        "$recycle.bin",
        "system volume information",
        "found.000",
        "thumbs.db",
        "ehthumbs.db",
        "ehthumbs_vista.db",
        "desktop.ini",
        # macOS
        "__macosx",
        "icon\r",
        "network trash folder",
        "temporary items",
        "thevolumesettingsfolder",
        "ipod photo cache",
        # Linux and Android
        "lost+found",
        "lost.dir",
        # Python, image viewers and web servers
        "__pycache__",
        "[originals]",
        "picasa.ini",
        "zbthumbnail.info",
        "__thumbs",
        "_vti_cnf",
    }
)

# Synology's thumbnails, wherever they were copied to.
_PREFIXES = ("synophoto_thumb", "synophoto:thumb", "synofile_thumb")

# Libraries of Photos, Aperture and Lightroom: folders that also hold reduced copies of their images.
_SUFFIXES = (".photoslibrary", ".aplibrary", ".lrdata", "@synoeastream", "@synoresource")


def is_system_name(name: str) -> bool:
    """Whether a file or folder of this name, in upper or lower case, was created by a system or other program."""
    name = name.lower()
    return name in _NAMES or name.startswith(_PREFIXES) or name.endswith(_SUFFIXES)
