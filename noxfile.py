"""The tests with each version of Python that atlas supports and that this machine has.

`nox` runs all of them; `nox --session tests-3.12 -- tests/test_store.py` runs some tests with one. A missing version is skipped.
"""

from __future__ import annotations

import nox

nox.options.error_on_missing_interpreters = False


@nox.session(python=["3.11", "3.12", "3.13"])
def tests(session: nox.Session) -> None:
    """Install atlas with the pinned versions and run its tests."""
    session.install("--constraint", "constraints.txt", "--editable", ".[test]")
    session.run(
        *("python", "-m", "pytest", "-n", "2", "--dist", "loadfile", "--no-loadscope-reorder", *session.posargs),
        env={"OMP_NUM_THREADS": "1"},
    )
