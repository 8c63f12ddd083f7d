"""Archives that are something else to another program."""

import struct

from tests.hostile.attacks import attack
from tests.hostile.grafting import Graft, Part, deflate


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
    graft.parts[1].gap = b"hidden"


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


@attack("archive_suffix")
def one_byte_behind_the_archive(graft: Graft) -> bytes:
    return graft.build(suffix=b"\n")


@attack("archive_suffix")
def three_bytes_behind_the_archive(graft: Graft) -> bytes:
    return graft.build(suffix=b"\0\0\0")


@attack("archive_suffix")
def more_behind_the_archive_than_a_comment_can_be(graft: Graft) -> bytes:
    return graft.build(suffix=b"suffix. " * 25_000)


@attack("archive_suffix")
def what_looks_like_another_end_behind_the_archive(graft: Graft) -> bytes:
    return graft.build(suffix=b"PK\x05\x06" + bytes(300))


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
