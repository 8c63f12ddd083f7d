"""Entries that are not what they claim to be, and manifests that lie."""

import json
import struct

from fastcms.backups.engine.manifest import DATABASE_NAME, METADATA_NAME
from tests.hostile.attacks import attack
from tests.hostile.grafting import Graft


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
