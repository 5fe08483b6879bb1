"""What real people answered. Called, it makes a study of a data frame; see `draft.make.study`."""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crowdllm_jax.study.records import Study


class _Study(ModuleType):
    """A package has the name that users would look for; so it answers to it."""

    def __call__(self, frame: Any, **what: Any) -> "Study":
        """See `draft.make.study`."""
        from crowdllm_jax.study.draft.make import study

        return study(frame, **what)


sys.modules[__name__].__class__ = _Study
