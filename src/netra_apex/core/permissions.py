"""Permissions: plain strings such as `orders:read`, compared exactly. `admin` implies no other permission (G5)."""

import re
from collections.abc import Iterable

from netra_apex.errors import Invalid

ADMIN = "admin"
_FORM = re.compile(r"[a-z0-9][a-z0-9_.:\-]{0,63}")


def check_permissions(permissions: Iterable[str]) -> frozenset[str]:
    """The permissions as a set.

    Raises:
        Invalid: one is not of the form `orders:read` (lower case letters, digits, `_ . : -`, at most 64).
    """
    checked = frozenset(permissions)
    for permission in sorted(checked):
        if not _FORM.fullmatch(permission):
            raise Invalid(f"{permission!r} is no permission: write it as orders:read")
    return checked


def allows(permissions: frozenset[str], required: str | None) -> bool:
    """Whether somebody who holds `permissions` may use what requires `required` (None: everybody may)."""
    return required is None or required in permissions
