"""Comments that suppress a finding: `# ssot: ignore[D001] reason`."""

import io
import re
import tokenize

from netra_apex.migrate.facts import Suppression

_MARK = re.compile(r"#\s*ssot:\s*ignore(?:\[([^\]]*)\])?[ \t]*[-:—]*[ \t]*(.*)")


def suppressions(source: bytes) -> tuple[tuple[object, ...], ...]:
    """All of a file; a comment that has a line to itself is about the next line of code."""
    if b"ssot:" not in source:
        return ()
    found: list[tuple[object, ...]] = []
    waiting: list[re.Match[str]] = []
    lines: list[int] = []
    try:
        for token in tokenize.tokenize(io.BytesIO(source).readline):
            if token.type == tokenize.COMMENT:
                match = _MARK.match(token.string)
                if match is None:
                    continue
                if token.line[: token.start[1]].strip():
                    found.append(_row(match, token.start[0], token.start[0]))
                else:
                    waiting.append(match)
                    lines.append(token.start[0])
            elif token.type not in _BLANK and waiting:
                found += [_row(match, line, token.start[0]) for match, line in zip(waiting, lines, strict=True)]
                waiting, lines = [], []
    except (tokenize.TokenError, SyntaxError):
        pass  # what came before the place that is no Python counts
    return tuple(found + [_row(match, line, line) for match, line in zip(waiting, lines, strict=True)])


_BLANK = (tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING, tokenize.ENDMARKER)


def _row(match: re.Match[str], line: int, applies: int) -> tuple[object, ...]:
    rules = tuple(sorted(each.strip() for each in (match[1] or "").split(",") if each.strip()))
    return tuple(Suppression(line, applies, rules, match[2].strip()))
