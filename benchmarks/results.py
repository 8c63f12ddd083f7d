"""The numbers of one run: for each measurement and contestant, every metric once per round."""

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

Metrics = Mapping[str, float]


@dataclass
class Results:
    """What `make bench` has found out; kept as JSON, so that the page can be made again from it."""

    plan: str
    machine: dict[str, str]
    versions: dict[str, str]
    facts: dict[str, float] = field(default_factory=dict)
    values: dict[str, dict[str, dict[str, list[float]]]] = field(default_factory=dict)
    # For charts: whatever the measurement that fills it and the chart agree on.
    series: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, measurement: str, contestant: str, metrics: Metrics) -> None:
        kept = self.values.setdefault(measurement, {}).setdefault(contestant, {})
        for name, value in metrics.items():
            kept.setdefault(name, []).append(value)

    def get(self, measurement: str, contestant: str, metric: str) -> list[float]:
        """Every round's value; empty if it was not measured."""
        return self.values.get(measurement, {}).get(contestant, {}).get(metric, [])

    def median(self, measurement: str, contestant: str, metric: str) -> float | None:
        return median(self.get(measurement, contestant, metric))

    def largest(self, measurement: str, contestant: str, metric: str) -> float | None:
        return max(self.get(measurement, contestant, metric), default=None)

    def ratio(self, measurement: str, metric: str, contestant: str, other: str) -> float | None:
        """The median of each round's ratio: what slows down both at the same time cancels out."""
        return self._paired(measurement, metric, contestant, other, lambda mine, theirs: mine / theirs)

    def difference(self, measurement: str, metric: str, contestant: str, other: str) -> float | None:
        return self._paired(measurement, metric, contestant, other, lambda mine, theirs: mine - theirs)

    def _paired(
        self,
        measurement: str,
        metric: str,
        contestant: str,
        other: str,
        compare: Callable[[float, float], float],
    ) -> float | None:
        mine, theirs = self.get(measurement, contestant, metric), self.get(measurement, other, metric)
        return median([compare(one, two) for one, two in zip(mine, theirs, strict=False) if two])

    def with_more(self, later: "Results", names: Sequence[str]) -> "Results":
        """These results with those of a later run of some measurements, and a note that says so."""
        values = {
            measurement: self.values.get(measurement, {}) | contestants
            for measurement, contestants in later.values.items()
        }
        note = f"Measured in a later run than the rest: {', '.join(names)}."
        return replace(
            self,
            versions=self.versions | later.versions,
            # What a run says of the machine itself is the first one's.
            facts=later.facts | self.facts,
            values=self.values | values,
            series=self.series | later.series,
            notes=list(dict.fromkeys([*self.notes, *later.notes, note])),
        )

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> "Results":
        return cls(**json.loads(path.read_text()))


def median(values: list[float]) -> float | None:
    return statistics.median(values) if values else None
