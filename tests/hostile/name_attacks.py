"""Names and types that no entry of a backup has."""

import stat
import struct
import zlib

from tests.hostile.attacks import ATTACKS, attack
from tests.hostile.grafting import Graft


def names(code: str, *hostile: str | bytes) -> None:
    """Register one attack for each name of an additional entry."""
    for name in hostile:

        def add(graft: Graft, name: str | bytes = name) -> None:
            graft.add(name)

        add.__name__ = f"name {name!r:.40}"
        ATTACKS.append((code, add))


names("archive_name_parent", "../outside", "files/../../outside", "files/a/..", "..")
names("archive_name_absolute", "/etc/cron.d/outside", "//server/share")
names("archive_name_drive", "C:/outside", "c:outside")
names("archive_name_backslash", "files\\..\\..\\outside", "files/a\\b", "\\\\server\\share")
names("archive_name_nul", "files/a.jpg\0.exe", "database.db\0")
names("archive_name_control", "files/a\nb", "files/\x1b[2J", "files/\x7f")
names(
    "archive_name_too_long",
    "files/" + "a" * 256,
    "files/" + "ab/" * 50 + "a" * 200 + "/" + ("b" * 200 + "/") * 4,
)
names("archive_name_too_deep", "files/" + "a/" * 64 + "b")
names("archive_name_encoding", b"files/\xff\xfe", b"files/\xed\xa0\x80", b"files/\xc0\xae\xc0\xae")
names("archive_name_empty_part", "files//a", "files/./a", "files/a//", "")
names("archive_name_hidden", "files/.trash/x", "files/.upload-x", "files/.DS_Store")
names("archive_name_foreign", "app.db", "database.db-wal", "files", "database.db/", "FILES/a", "__MACOSX/x")
names("archive_name_collision", "files/Picture_0123.txt")


@attack("archive_name_encoding")
def name_in_an_unknown_code_page(graft: Graft) -> None:
    graft.add(b"files/\x81.txt", flags=0, central={"made_by": 20})


@attack("archive_name_renamed")
def second_name_in_an_extra_field(graft: Graft) -> None:
    other = b"files/other"
    crc = zlib.crc32(graft.file.name)
    graft.file.extra = struct.pack("<HHBL", 0x7075, 5 + len(other), 1, crc) + other


@attack("archive_name_collision")
def two_normal_forms_of_one_name(graft: Graft) -> None:
    graft.add("files/caf\u00e9")
    graft.add("files/cafe\u0301")


@attack("archive_name_collision")
def two_folders_that_differ_in_case(graft: Graft) -> None:
    graft.add("files/Deep/a")
    graft.add("files/deep/b")


@attack("archive_duplicate")
def same_file_twice(graft: Graft) -> None:
    graft.add(graft.file.name)


@attack("archive_duplicate")
def same_folder_twice(graft: Graft) -> None:
    graft.add("files/x/", b"", method=0)
    graft.add("files/x/", b"", method=0)


@attack("archive_file_is_folder")
def entry_below_a_file(graft: Graft) -> None:
    graft.add(graft.file.name + b"/below")


@attack("archive_file_is_folder")
def file_named_as_a_folder_that_came_before(graft: Graft) -> None:
    graft.add("files/x/deep/below")
    graft.add("files/x")


@attack("archive_file_is_folder")
def folder_entry_named_as_a_file(graft: Graft) -> None:
    graft.add(graft.file.name + b"/", b"", method=0)


@attack("archive_link")
def symbolic_link(graft: Graft) -> None:
    graft.add("files/link", b"/etc/passwd", attributes=(stat.S_IFLNK | 0o777) << 16)


@attack("archive_link")
def windows_link(graft: Graft) -> None:
    graft.add("files/link", attributes=0x400)


@attack("archive_special_file")
def fifo(graft: Graft) -> None:
    graft.add("files/fifo", attributes=(stat.S_IFIFO | 0o644) << 16)


@attack("archive_special_file")
def character_device(graft: Graft) -> None:
    graft.add("files/tty", attributes=(stat.S_IFCHR | 0o644) << 16)


@attack("archive_special_file")
def block_device(graft: Graft) -> None:
    graft.add("files/sda", attributes=(stat.S_IFBLK | 0o644) << 16)


@attack("archive_special_file")
def folder_without_a_slash(graft: Graft) -> None:
    graft.add("files/x", attributes=(stat.S_IFDIR | 0o755) << 16)


@attack("archive_special_file")
def folder_without_a_slash_in_dos_attributes(graft: Graft) -> None:
    graft.add("files/x", attributes=0x10)


@attack("archive_setuid")
def set_user_id(graft: Graft) -> None:
    graft.add("files/tool", attributes=(stat.S_IFREG | 0o4755) << 16)


@attack("archive_setuid")
def set_group_id(graft: Graft) -> None:
    graft.add("files/tool", attributes=(stat.S_IFREG | 0o2755) << 16)


@attack("archive_folder_content")
def folder_with_content(graft: Graft) -> None:
    graft.add("files/x/", b"content")
