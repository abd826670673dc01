"""The one line that people see of an error."""

import errno

import pytest

from smallbignet.errors import SmallBigError, explain_os_error


def test_what_and_where():
    assert str(SmallBigError("no such recipe", "smal")) == "no such recipe (smal)"
    assert str(SmallBigError("no such recipe")) == "no such recipe"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "run/state"),
            "no space left on device; free some space, or choose another place (run/state)",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "/locked/x"),
            "permission denied; check its permissions, or choose another place (/locked/x)",
        ),
        (OSError(errno.EIO, "Input/output error"), "input/output error"),
        (OSError("404 Client Error:\n not found"), "404 Client Error: not found"),
    ],
    ids=["full disk", "permissions", "no advice", "a library's"],
)
def test_an_error_of_the_operating_system_says_what_to_do_and_names_the_file(error, expected):
    assert explain_os_error(error) == expected
