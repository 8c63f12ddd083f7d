"""How much is measured: everything for the record, or a little for a first look."""

from dataclasses import dataclass

from benchmarks.dataset import MAGAZINE, PICTURES, SMALL_FILES, Dataset


@dataclass(frozen=True)
class Plan:
    """Sizes, repetitions and durations of one run."""

    name: str
    dataset: Dataset
    rounds: int
    starts: int
    # The slow ones are measured less often.
    window_rounds: int
    window_seconds: float
    backups_under_uploads: int
    pocketbase_backups_under_uploads: int
    small_files: Dataset
    small_files_rounds: int
    listed_backups: int
    copied: Dataset
    copied_rounds: int
    # For time against size, besides the dataset above; the largest is measured for memory and start, too.
    more_sizes: tuple[Dataset, ...]
    more_sizes_rounds: int
    pause_seconds: float
    # What the sites and their archives take of the page cache; less if the machine has less.
    warmed_bytes: float


FULL = Plan(
    name="full",
    dataset=MAGAZINE,
    rounds=3,
    starts=5,
    window_rounds=3,
    window_seconds=10,
    backups_under_uploads=20,
    pocketbase_backups_under_uploads=6,
    small_files=SMALL_FILES,
    small_files_rounds=3,
    listed_backups=10_000,
    copied=PICTURES,
    copied_rounds=3,
    more_sizes=(MAGAZINE.times(8), MAGAZINE.times(0.08), MAGAZINE.times(3.2)),
    more_sizes_rounds=1,
    pause_seconds=1,
    warmed_bytes=40e9,
)
QUICK = Plan(
    name="quick",
    dataset=MAGAZINE.times(0.08),
    rounds=2,
    starts=1,
    window_rounds=1,
    window_seconds=3,
    backups_under_uploads=2,
    pocketbase_backups_under_uploads=1,
    small_files=SMALL_FILES.times(0.01),
    small_files_rounds=1,
    listed_backups=1_000,
    copied=PICTURES.times(0.1),
    copied_rounds=1,
    more_sizes=(),
    more_sizes_rounds=0,
    pause_seconds=0.2,
    warmed_bytes=2e9,
)
