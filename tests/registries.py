# SPDX-License-Identifier: BSD-3-Clause
"""What every row of every registry owes its readers: its mathematics in words, and an example that runs."""

from __future__ import annotations

import doctest


def check_row(row, *texts):
    """Formulas are written down, and the docstring has an example whose output is as printed."""
    assert all(isinstance(text, str) and text.strip() for text in texts), f"{row!r} lacks a formula"
    doc = row.__doc__
    assert doc and doc.strip(), f"{row!r} has no docstring"
    test = doctest.DocTestParser().get_doctest(doc, {}, repr(row), None, 0)
    assert test.examples, f"{row!r} has no example"
    said = []
    failed, _ = doctest.DocTestRunner(verbose=False).run(test, out=said.append)
    assert not failed, "".join(said)
