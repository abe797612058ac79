"""The pipelines of a service, changed by their names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from memvid_core.agent.checks import mapping_of
from memvid_core.agent.pipelines import Pipeline, Step
from memvid_core.agent.scopes import nearest
from memvid_core.errors import InvalidInputError

__all__ = ["Pipelined"]


class Pipelined:
    """What has pipelines by name, and methods that change them under the names that memU gave these.

    ``pipelines["retrieve"].insert_before(...)`` does the same as ``insert_step_before(..., pipeline="retrieve")``.
    """

    pipelines: Mapping[str, Pipeline]

    def configure_pipeline(self, *, step_id: str, configs: Mapping[str, Any], pipeline: str = "memorize") -> None:
        """Change options of a step.

        Args:
            step_id: The name of the step.
            configs: Its options and their new values.
            pipeline: ``"memorize"``, ``"recall"`` or ``"retrieve"``; so for the other methods.

        Raises:
            InvalidInputError: The pipeline, the step or an option does not exist.
        """
        self._pipeline(pipeline).configure(step_id, **mapping_of(configs, "configs"))

    def insert_step_before(self, *, target_step_id: str, new_step: Step, pipeline: str = "memorize") -> None:
        """Put a step before another.

        Raises:
            InvalidInputError: The pipeline or the step does not exist, or a step would lack what it takes.
        """
        self._pipeline(pipeline).insert_before(target_step_id, new_step)

    def insert_step_after(self, *, target_step_id: str, new_step: Step, pipeline: str = "memorize") -> None:
        """Put a step after another.

        Raises:
            InvalidInputError: As for :meth:`insert_step_before`.
        """
        self._pipeline(pipeline).insert_after(target_step_id, new_step)

    def replace_step(self, *, target_step_id: str, new_step: Step, pipeline: str = "memorize") -> None:
        """Put a step in the place of another.

        Raises:
            InvalidInputError: As for :meth:`insert_step_before`.
        """
        self._pipeline(pipeline).replace(target_step_id, new_step)

    def remove_step(self, *, target_step_id: str, pipeline: str = "memorize") -> None:
        """Take a step out.

        Raises:
            InvalidInputError: As for :meth:`insert_step_before`.
        """
        self._pipeline(pipeline).remove(target_step_id)

    def _pipeline(self, name: str) -> Pipeline:
        if name not in self.pipelines:
            raise InvalidInputError(f"{name!r} is not a pipeline{nearest(str(name), self.pipelines)}")
        return self.pipelines[name]
