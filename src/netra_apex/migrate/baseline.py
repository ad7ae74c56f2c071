"""The baseline: findings that are known and may stay for now, a sorted line each, without line numbers.

It is a ratchet: it only shrinks, unless somebody says that it may grow, and a file that has gone is not made anew by
itself. Lines of two branches can be merged by union: what is no more is told as X004 and goes with the next writing.
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from netra_apex.errors import ConfigurationError
from netra_apex.migrate.findings import Finding, Report

HEAD = "# Findings that netra audit knows. It only shrinks: `netra audit --baseline FILE --write-baseline`."


def line_of(finding: Finding) -> str:
    """A finding as a line: its rule, its path, what it is about."""
    return "\t".join(
        part.replace("\t", " ").replace("\n", " ") for part in (finding.rule, finding.path, finding.subject)
    )


def read(path: Path) -> Counter[str]:
    """The lines of a baseline, each as often as it stands there.

    Raises:
        ConfigurationError: there is no such file, or it is no baseline.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        said = f"there is no baseline {path}: `--write-baseline` makes one, which takes everything as known"
        raise ConfigurationError(said) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the baseline {path} cannot be read: {error}") from error
    kept = [line for line in lines if line.strip() and not line.startswith("#")]
    if wrong := next((line for line in kept if line.count("\t") != 2), None):
        raise ConfigurationError(f"the baseline {path} has a line that is none of it, of a merge perhaps: {wrong!r}")
    return Counter(kept)


def without_known(report: Report, known: Counter[str], name: str, *, whole: bool) -> Report:
    """What the baseline does not know; and, where the whole tree was looked at, what it knows that is no more."""
    left = Counter(known)
    fresh: list[Finding] = []
    for finding in report.findings:
        line = line_of(finding)
        if left[line] > 0:
            left[line] -= 1
        else:
            fresh.append(finding)
    count = len(report.findings) - len(fresh)
    if whole:
        fresh += [_stale(name, line) for line, times in sorted(left.items()) for _ in range(times)]
    return Report(tuple(sorted(fresh)), report.files, report.unparsed, count)


def _stale(name: str, line: str) -> Finding:
    rule, path, subject = line.split("\t")
    return Finding(name, 1, 1, "X004", f"{rule} in {path} is no more: {subject}", "error", line)


def written(findings: Iterable[Finding], before: Counter[str] | None) -> tuple[str, int]:
    """The text of a new baseline, and how many findings it refuses, as a baseline that is there only shrinks."""
    now = Counter(line_of(finding) for finding in findings if finding.rule[0] != "X")
    kept = now if before is None else now & before
    lines = sorted(kept.elements())
    return "\n".join((HEAD, *lines, "")), now.total() - kept.total()
