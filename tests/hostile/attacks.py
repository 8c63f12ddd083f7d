"""Every kind of hostile archive, each grafted onto a valid backup, with the code that refuses it."""

import json
import stat
import struct
import zlib
from collections.abc import Callable

from fastcms.backups.engine.manifest import DATABASE_NAME, METADATA_NAME
from tests.hostile.grafting import Graft, Part, deflate

Attack = Callable[[Graft], bytes | None]
ATTACKS: list[tuple[str, Attack]] = []


def attack(code: str) -> Callable[[Attack], Attack]:
    """Register an attack, which changes its graft, or returns the archive's bytes."""

    def register(function: Attack) -> Attack:
        ATTACKS.append((code, function))
        return function

    return register


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


@attack("archive_headers_disagree")
def other_name_in_the_local_header(graft: Graft) -> None:
    graft.file.local = {"name": b"files/pixture_0123.txt"}


@attack("archive_headers_disagree")
def longer_name_in_the_local_header(graft: Graft) -> None:
    graft.file.local = {"name": graft.file.name + b"x"}


@attack("archive_headers_disagree")
def other_method_in_the_local_header(graft: Graft) -> None:
    graft.file.local = {"method": 0}


@attack("archive_headers_disagree")
def other_flags_in_the_local_header(graft: Graft) -> None:
    graft.file.local = {"flags": 0}


@attack("archive_headers_disagree")
def other_crc_in_the_local_header(graft: Graft) -> None:
    graft.file.local = {"crc": 1}


@attack("archive_headers_disagree")
def other_size_in_the_local_header(graft: Graft) -> None:
    graft.file.local = {"size_bytes": 1}


@attack("archive_headers_disagree")
def other_compressed_size_in_the_local_header(graft: Graft) -> None:
    graft.file.local = {"packed_bytes": 1}


@attack("archive_headers_disagree")
def second_name_in_the_local_header_only(graft: Graft) -> bytes:
    field = struct.pack("<HHBL", 0x7075, 10, 1, 0) + b"other"
    graft.file.local = {"extra": field}
    return graft.build()


@attack("archive_hidden_data")
def bytes_between_two_entries(graft: Graft) -> None:
    graft.file.gap = b"hidden"


@attack("archive_hidden_data")
def bytes_between_the_entries_and_the_directory(graft: Graft) -> bytes:
    return graft.build(after_entries=b"hidden")


@attack("archive_hidden_data")
def bytes_between_the_directory_and_the_end(graft: Graft) -> bytes:
    return graft.build(after_directory=b"hidden")


@attack("archive_hidden_data")
def bytes_behind_deflated_data(graft: Graft) -> None:
    graft.file.packed = deflate(graft.file.content) + b"hidden"


@attack("archive_hidden_entry")
def entry_that_the_directory_does_not_list(graft: Graft) -> bytes:
    return graft.build(unlisted=graft.add("files/hidden"))


@attack("archive_hidden_entry")
def unlisted_entry_before_the_directory(graft: Graft) -> bytes:
    hidden = Part(b"files/hidden", b"hidden")
    return graft.build(after_entries=hidden.local_header() + hidden.data())


@attack("archive_entry_not_there")
def listed_entry_without_a_local_header(graft: Graft) -> None:
    graft.file.local = {"signature": b"PK\x03\x03"}


@attack("archive_prefix")
def program_before_the_archive(graft: Graft) -> bytes:
    return graft.build(prefix=b"#!/bin/sh\nrm -rf /\n")


@attack("archive_prefix")
def program_before_an_archive_that_does_not_know_it(graft: Graft) -> bytes:
    return b"#!/bin/sh\nrm -rf /\n" + graft.build()


@attack("archive_suffix")
def bytes_behind_the_archive(graft: Graft) -> bytes:
    return graft.build(suffix=b"suffix")


@attack("archive_several_ends")
def archive_behind_the_archive(graft: Graft) -> bytes:
    other = Graft({"files/other": b"other"}).build()
    return graft.build() + other


@attack("archive_several_ends")
def second_end_behind_the_first(graft: Graft) -> bytes:
    valid = graft.build()
    return valid + valid[-22:]


@attack("archive_several_ends")
def end_whose_comment_is_the_other_end(graft: Graft) -> bytes:
    return graft.build(after_directory=b"PK\x05\x06" + bytes(16) + (22).to_bytes(2, "little"))


@attack("archive_several_ends")
def end_within_stored_data_whose_comment_is_all_the_rest(graft: Graft) -> bytes:
    graft.parts[-1].method = 0
    part = graft.add("files/x", b"PK\x05\x06" + bytes(18), method=0)
    rest_bytes = len(graft.build()) - graft.build().index(part.content) - 22
    part.content = b"PK\x05\x06" + bytes(16) + rest_bytes.to_bytes(2, "little")
    return graft.build()


@attack("archive_comment")
def comment_of_the_archive(graft: Graft) -> bytes:
    return graft.build(end={"comment": 5}, suffix=b"hello")


@attack("archive_comment")
def comment_of_an_entry(graft: Graft) -> None:
    graft.file.central = {"comment": b"hello"}


@attack("archive_zip64")
def zip64_record_with_another_count(graft: Graft) -> bytes:
    return graft.build(zip64={"here": 1, "count": 1})


@attack("archive_zip64")
def zip64_record_with_another_offset(graft: Graft) -> bytes:
    return graft.build(zip64={"offset": 0}, end={"size": 7})


@attack("archive_zip64")
def zip64_record_of_another_signature(graft: Graft) -> bytes:
    return graft.build(zip64={"signature": b"PK\x06\x05"})


@attack("archive_zip64")
def zip64_record_that_is_longer(graft: Graft) -> bytes:
    return graft.build(zip64={"rest": 100})


@attack("archive_zip64")
def zip64_locator_that_points_elsewhere(graft: Graft) -> bytes:
    return graft.build(zip64={"at": 0})


@attack("archive_zip64")
def bytes_between_the_zip64_records(graft: Graft) -> bytes:
    return graft.build(zip64={}, zip64_gap=b"hidden")


@attack("archive_zip64")
def sizes_that_point_to_a_missing_zip64_field(graft: Graft) -> None:
    graft.file.central = {"size_bytes": 0xFFFFFFFF}


@attack("archive_zip64")
def zip64_field_that_nothing_points_to(graft: Graft) -> None:
    graft.file.central = {"extra": struct.pack("<HHQ", 1, 8, 5)}


@attack("archive_zip64")
def zip64_field_with_other_sizes_than_its_local_header(graft: Graft) -> None:
    graft.file.local = {"extra": struct.pack("<HHQQ", 1, 16, 5, 5)}


@attack("archive_multi_disk")
def several_disks(graft: Graft) -> bytes:
    return graft.build(end={"disk": 1, "directory_disk": 1})


@attack("archive_multi_disk")
def several_disks_in_the_zip64_locator(graft: Graft) -> bytes:
    return graft.build(zip64={"disks": 2})


@attack("archive_multi_disk")
def fewer_entries_on_this_disk(graft: Graft) -> bytes:
    return graft.build(end={"here": 1})


@attack("archive_multi_disk")
def entry_on_another_disk(graft: Graft) -> None:
    graft.file.central = {"disk": 3}


@attack("archive_encrypted")
def encrypted_entry(graft: Graft) -> None:
    graft.file.flags |= 1


@attack("archive_encrypted")
def encrypted_directory(graft: Graft) -> None:
    graft.file.flags |= 1 << 13


@attack("archive_encrypted")
def encrypted_with_aes(graft: Graft) -> None:
    graft.file.extra = struct.pack("<HH", 0x9901, 0)


@attack("archive_data_descriptor")
def size_after_the_data(graft: Graft) -> None:
    graft.file.flags |= 1 << 3


@attack("archive_flags")
def unknown_flag(graft: Graft) -> None:
    graft.file.flags |= 1 << 5


@attack("archive_method")
def unusual_method(graft: Graft) -> None:
    graft.file.method = 14


@attack("archive_extra_field")
def unknown_extra_field(graft: Graft) -> None:
    graft.file.extra = struct.pack("<HH", 0xBEEF, 4) + b"evil"


@attack("archive_extra_field")
def repeated_extra_field(graft: Graft) -> None:
    graft.file.extra = struct.pack("<HH", 0x5455, 0) * 2


@attack("archive_extra_field")
def extra_field_that_is_cut_off(graft: Graft) -> None:
    graft.file.extra = struct.pack("<HH", 0x5455, 40)


@attack("archive_overlap")
def two_entries_at_one_place(graft: Graft) -> None:
    graft.add("files/a", local={"name": b"files/a"})
    graft.add("files/b", central={"offset": 0})


@attack("archive_overlap")
def entry_that_reaches_into_the_next(graft: Graft) -> None:
    part = graft.add("files/a", method=0, local={}, central={})
    for header in (part.local, part.central):
        header |= {"packed_bytes": 12, "size_bytes": 12}


@attack("archive_overlap")
def last_entry_that_reaches_into_the_directory(graft: Graft) -> None:
    last = graft.parts[-1]
    last.method = 0
    graft.build()
    for header in (last.local, last.central):
        header |= {"packed_bytes": len(last.content) + 9, "size_bytes": len(last.content) + 9}


@attack("archive_overlap")
def extra_field_that_reaches_into_the_directory(graft: Graft) -> None:
    graft.parts[-1].local = {"extra_bytes": 65535}


@attack("archive_bomb")
def size_that_deflate_cannot_reach(graft: Graft) -> None:
    for header in (graft.file.local, graft.file.central):
        header["size_bytes"] = 2**31


@attack("archive_bomb")
def size_of_exabytes(graft: Graft) -> None:
    size = struct.pack("<HHQQ", 1, 16, 2**62, len(graft.file.data()))
    for header in (graft.file.local, graft.file.central):
        header |= {"extra": size, "size_bytes": 0xFFFFFFFF, "packed_bytes": 0xFFFFFFFF}


@attack("archive_size_lie")
def more_data_than_claimed(graft: Graft) -> None:
    part = graft.add("files/bomb", bytes(10**6))
    for header in (part.local, part.central):
        header["size_bytes"] = 1000


@attack("archive_size_lie")
def less_data_than_claimed(graft: Graft) -> None:
    part = graft.add("files/a", b"a" * 100)
    for header in (part.local, part.central):
        header["size_bytes"] = 101


@attack("archive_size_lie")
def stored_data_of_two_sizes(graft: Graft) -> None:
    part = graft.add("files/a", b"a" * 100, method=0)
    for header in (part.local, part.central):
        header["size_bytes"] = 99


@attack("archive_too_many_entries")
def very_many_entries(graft: Graft) -> bytes:
    return graft.build(zip64={"here": 3_000_000, "count": 3_000_000}, end={"here": 0xFFFF, "count": 0xFFFF})


@attack("archive_entry_count")
def more_entries_than_there_is_room_for(graft: Graft) -> bytes:
    return graft.build(end={"here": 60_000, "count": 60_000})


@attack("archive_directory")
def one_entry_more_than_listed(graft: Graft) -> bytes:
    count = len(graft.parts) + 1
    return graft.build(end={"here": count, "count": count})


@attack("archive_entry_count")
def one_entry_less_than_listed(graft: Graft) -> bytes:
    count = len(graft.parts) - 1
    return graft.build(end={"here": count, "count": count})


@attack("archive_directory")
def directory_of_another_signature(graft: Graft) -> None:
    graft.file.central = {"signature": b"PK\x01\x01"}


@attack("archive_truncated")
def archive_without_its_end(graft: Graft) -> bytes:
    return graft.build()[:-30]


@attack("archive_truncated")
def archive_without_its_middle(graft: Graft) -> bytes:
    valid = graft.build()
    return valid[:50] + valid[100:]


@attack("archive_truncated")
def entry_beyond_the_archive(graft: Graft) -> None:
    graft.file.central = {"offset": 2**31}


@attack("archive_not_zip")
def no_zip(_graft: Graft) -> bytes:
    return b"GIF89a" * 100


@attack("archive_not_zip")
def empty_file(_graft: Graft) -> bytes:
    return b""


@attack("archive_crc")
def wrong_crc(graft: Graft) -> None:
    for header in (graft.file.local, graft.file.central):
        header["crc"] = 1


@attack("archive_deflate")
def broken_deflate(graft: Graft) -> None:
    graft.file.packed = b"\xff" * 20


@attack("archive_deflate")
def deflate_without_its_end(graft: Graft) -> None:
    graft.file.packed = graft.file.data()[:-3]


@attack("archive_checksum")
def other_content_than_the_checksum_says(graft: Graft) -> None:
    graft.build()
    graft.checksums = graft.parts[-1].content
    graft.file.content = b"b picture" * 50


@attack("archive_checksum")
def other_metadata_than_the_checksum_says(graft: Graft) -> None:
    graft.build()
    graft.checksums = graft.parts[-1].content
    graft.metadata.content += b" "


@attack("archive_checksum_line")
def checksums_that_are_none(graft: Graft) -> None:
    graft.checksums = b"nothing\n"


@attack("archive_checksum_line")
def checksum_twice(graft: Graft) -> None:
    graft.build()
    graft.checksums = graft.parts[-1].content * 2


@attack("archive_checksum_line")
def checksum_of_a_name_that_is_no_text(graft: Graft) -> None:
    graft.checksums = b"0" * 64 + b"  files/\xff\n"


@attack("archive_entry_missing")
def no_database(graft: Graft) -> None:
    graft.remove(DATABASE_NAME)


@attack("archive_entry_missing")
def no_metadata(graft: Graft) -> None:
    graft.remove(METADATA_NAME)


@attack("archive_entry_missing")
def no_checksums(graft: Graft) -> None:
    graft.parts.pop()


@attack("archive_entry_missing")
def no_entries_at_all(graft: Graft) -> None:
    graft.parts.clear()


@attack("archive_entry_missing")
def checksum_of_an_entry_that_is_missing(graft: Graft) -> None:
    graft.build()
    graft.checksums = graft.parts[-1].content + b"0" * 64 + b"  files/gone\n"


@attack("archive_entry_unexpected")
def entry_without_a_checksum(graft: Graft) -> None:
    graft.build()
    graft.checksums = graft.parts[-1].content
    graft.add("files/more")


@attack("archive_metadata")
def metadata_that_is_no_json(graft: Graft) -> None:
    graft.metadata.content = b"\xff"


@attack("archive_metadata")
def metadata_with_numbers_beyond_all_numbers(graft: Graft) -> None:
    graft.metadata.content = graft.metadata.content.replace(
        b'"format_version": 1', b'"format_version": 1e999'
    )


@attack("archive_metadata")
def metadata_with_half_a_character(graft: Graft) -> None:
    values = json.loads(graft.metadata.content) | {"backup_name": "\ud800"}
    graft.metadata.content = json.dumps(values).encode()


@attack("archive_metadata")
def metadata_with_lists_for_texts(graft: Graft) -> None:
    values = json.loads(graft.metadata.content) | {"app_version": [[]]}
    graft.metadata.content = json.dumps(values).encode()


@attack("archive_metadata")
def metadata_with_a_number_of_a_million_digits(graft: Graft) -> None:
    graft.metadata.content = b'{"format_version": ' + b"9" * 10**6 + b"}"


@attack("archive_json_too_deep")
def metadata_nested_very_deeply(graft: Graft) -> None:
    graft.metadata.content = b'{"format_version": ' + b"[" * 10**6


@attack("archive_text_too_large")
def huge_metadata(graft: Graft) -> None:
    graft.metadata.content = b" " * (16 * 1024**2 + 1)


@attack("archive_too_new")
def newer_format(graft: Graft) -> None:
    values = json.loads(graft.metadata.content) | {"format_version": 2}
    graft.metadata.content = json.dumps(values).encode()
