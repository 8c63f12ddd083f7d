"""Medians and ratios of rounds."""

from pathlib import Path

from benchmarks.results import Results


def new_results() -> Results:
    return Results("quick", {}, {})


def test_a_ratio_is_the_median_of_the_ratios_of_each_round() -> None:
    results = new_results()
    for ours, theirs in ((1, 2), (10, 40), (3, 30)):
        results.add("create", "FastCMS", {"seconds": ours})
        results.add("create", "tar", {"seconds": theirs})
    assert results.ratio("create", "seconds", "tar", "FastCMS") == 4
    assert results.difference("create", "seconds", "tar", "FastCMS") == 27


def test_what_was_not_measured_has_no_median_and_no_ratio() -> None:
    results = new_results()
    results.add("create", "FastCMS", {"seconds": 1})
    assert results.median("create", "PocketBase", "seconds") is None
    assert results.ratio("create", "seconds", "PocketBase", "FastCMS") is None


def test_results_survive_being_saved_and_loaded(tmp_path: Path) -> None:
    results = new_results()
    results.add("create", "FastCMS", {"seconds": 1.5, "archive_bytes": 10})
    results.notes.append("restic is not installed.")
    results.save(tmp_path / "results.json")
    assert Results.load(tmp_path / "results.json") == results


def test_a_later_run_of_some_measurements_joins_the_rest_and_is_told_apart() -> None:
    results, later = new_results(), new_results()
    results.add("memory", "creating", {"more_bytes": 1})
    results.add("create", "FastCMS", {"seconds": 1})
    results.facts["fsync_seconds"] = 1
    later.add("memory", "copying", {"more_bytes": 2})
    later.add("copy", "rclone", {"seconds": 3})
    later.facts |= {"fsync_seconds": 2, "copied_bytes": 4}
    joined = results.with_more(later, ["offsite"]).with_more(later, ["offsite"])
    assert joined.values["memory"] == {"creating": {"more_bytes": [1]}, "copying": {"more_bytes": [2]}}
    assert joined.get("create", "FastCMS", "seconds") == [1]
    assert joined.get("copy", "rclone", "seconds") == [3]
    assert joined.facts == {"fsync_seconds": 1, "copied_bytes": 4}
    assert joined.notes == ["Measured in a later run than the rest: offsite."]
