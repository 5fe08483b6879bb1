"""What real people answered. Called, it makes a study of a data frame; see `draft.make.study`."""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crowdllm_jax.study.records import Study


class _Study(ModuleType):
    """A package has the name that users would look for; so it answers to it."""

    def __call__(
        self,
        frame: Any,
        *,
        name: str = "study",
        id: str | None = None,
        task: str | None = None,
        response: str | None = None,
        weight: str | None = None,
        **choices: Any,
    ) -> "Study":
        """A study of a data frame of pandas or polars, or of a file; see `draft.make.study`."""
        from crowdllm_jax.study.draft.make import study

        return study(
            frame, name=name, id=id, task=task, response=response, weight=weight, **choices
        )


sys.modules[__name__].__class__ = _Study
