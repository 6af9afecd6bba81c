"""What holds for every test: Hypothesis sets no time, since a busy machine is no fault of the code."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("chatnet", deadline=None)
settings.load_profile("chatnet")
