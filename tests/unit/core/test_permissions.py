"""Permissions are compared exactly, and `admin` is one like any other."""

import pytest

from netra_apex.core.permissions import ADMIN, allows, check_permissions
from netra_apex.errors import Invalid


def test_a_permission_is_written_as_orders_read() -> None:
    assert check_permissions(["orders:read", "admin", "a", "0.x_y-z"]) == {"orders:read", "admin", "a", "0.x_y-z"}
    assert check_permissions(()) == frozenset()
    assert check_permissions(["a" * 64])


@pytest.mark.parametrize(
    "permission", ["", " ", "Orders:read", "orders read", "*", ":read", "a" * 65, "a\n", "é", "orders:*"]
)
def test_another_form_is_refused_and_named(permission: str) -> None:
    with pytest.raises(Invalid, match="is no permission") as refused:
        check_permissions(["orders:read", permission])
    assert repr(permission) in str(refused.value)


def test_what_requires_nothing_is_everybodys() -> None:
    assert allows(frozenset(), None)
    assert allows(frozenset({"a"}), None)


def test_a_permission_allows_itself_and_no_other() -> None:
    held = frozenset({"orders:read"})
    assert allows(held, "orders:read")
    for required in ("orders:write", "orders", "orders:read:all", "ORDERS:READ", ""):
        assert not allows(held, required)


def test_admin_implies_no_other_permission() -> None:
    assert not allows(frozenset({ADMIN}), "orders:read")
    assert not allows(frozenset({"orders:read"}), ADMIN)
