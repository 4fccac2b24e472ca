"""The JavaScript engine that runs the site's scripts without a browser."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

LOADER = Path(__file__).parent / "js" / "load.mjs"


def node() -> str:
    """Return the path of node: the one on the search path, else the one that Playwright brings along.

    A machine without either skips the test, unless CI is set: then it fails.
    """
    found = shutil.which("node")
    if found is None:
        import playwright

        found = shutil.which("node", path=str(Path(playwright.__file__).parent / "driver"))
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("CI needs node: install Node.js 20 or newer")
        pytest.skip("node is not installed")
    return found


def evaluate(scripts: list[str], expression: str, given: Any = None) -> Any:
    """Return the value of a JavaScript expression converted from JSON.

    Parameters
    ----------
    scripts : list of str
        Scripts of site_templates/js, without their ending; words.js and formats.js are always loaded before them.
    expression : str
        Reads the scripts' globals from `page` and its argument from `given`.
    given : object
        Anything that JSON can hold.
    """
    program = (
        f"import {{ readFileSync }} from 'node:fs'; import {{ load }} from {json.dumps(LOADER.as_uri())};\n"
        f"const page = load({json.dumps(scripts)}), given = JSON.parse(readFileSync(0, 'utf8'));\n"
        f"process.stdout.write(JSON.stringify({expression}));\n"
    )
    command = [node(), "--input-type=module", "-e", program]
    done = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
