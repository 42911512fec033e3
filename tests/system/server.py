# SPDX-License-Identifier: MIT
"""The harness by its old name, until every test imports harness."""
from harness import *  # noqa: F403
