"""Pipelines: named steps that hand on named values, checked whenever they are changed.

>>> upper = Step("upper", lambda text: {"text": text.upper()}, inputs=("text",), outputs=("text",))
>>> shout = Pipeline("shout", [upper], given=["text"])
>>> mark = lambda text, sign: {"text": text + sign}
>>> shout.insert_after("upper", Step("mark", mark, inputs=("text",), outputs=("text",), options={"sign": "!"}))
>>> shout.configure("mark", sign="?")
>>> shout.run(text="why")["text"]
'WHY?'
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from memvid_core.agent.scopes import nearest
from memvid_core.errors import InvalidInputError

__all__ = ["Pipeline", "Step"]

Values = dict[str, Any]
Before = Callable[[str, Values], None]
After = Callable[[str, Values], None]
OnError = Callable[[str, Exception], Mapping[str, Any] | None]


class Step(msgspec.Struct, frozen=True):
    """One step of a pipeline.

    Attributes:
        name: Its name.
        run: Takes its inputs and options by name, and returns its outputs as a dict.
        inputs: The names of the values that it takes.
        outputs: The names of the values that it gives; one may replace a value that is there.
        needs: What must be there for it to run, such as ``"model"``.
        options: Its options and their values.
    """

    name: str
    run: Callable[..., Mapping[str, Any]]
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    options: dict[str, Any] = {}


class Pipeline:
    """Steps that run in order. A change that leaves a step without its inputs or needs is refused, and nothing changes.

    ``before`` and ``after`` are called with the name of a step and a copy of all values. ``on_error`` is called with
    the name and the error; if it returns outputs, the run goes on with them. An interceptor that raises ends the run.

    Args:
        name: Its name, for errors.
        steps: The steps.
        given: The names of the values that a run begins with.
        returns: The names of the values that a run must end with.
        has: What is there, for ``needs``.

    Raises:
        InvalidInputError: A step lacks an input or a need, two have one name, or a value to return is missing.
    """

    def __init__(
        self,
        name: str,
        steps: Iterable[Step],
        *,
        given: Iterable[str] = (),
        returns: Iterable[str] = (),
        has: Iterable[str] = (),
    ) -> None:
        self.name = name
        self.given = tuple(given)
        self.returns = tuple(returns)
        self.has = frozenset(has)
        self.before: list[Before] = []
        self.after: list[After] = []
        self.on_error: list[OnError] = []
        self._steps: tuple[Step, ...] = ()
        self._change(list(steps))
        self._made = self._steps

    @property
    def as_made(self) -> bool:
        """Whether no step was changed and nothing is called between the steps."""
        return self._steps is self._made and not (self.before or self.after or self.on_error)

    @property
    def steps(self) -> tuple[str, ...]:
        """The names of the steps."""
        return tuple(step.name for step in self._steps)

    def insert_before(self, name: str, step: Step) -> None:
        """Put a step before another."""
        place = self._place(name)
        self._change([*self._steps[:place], step, *self._steps[place:]])

    def insert_after(self, name: str, step: Step) -> None:
        """Put a step after another."""
        place = self._place(name) + 1
        self._change([*self._steps[:place], step, *self._steps[place:]])

    def replace(self, name: str, step: Step) -> None:
        """Put a step in the place of another."""
        place = self._place(name)
        self._change([*self._steps[:place], step, *self._steps[place + 1 :]])

    def remove(self, name: str) -> None:
        """Take a step out."""
        place = self._place(name)
        self._change([*self._steps[:place], *self._steps[place + 1 :]])

    def configure(self, name: str, **options: Any) -> None:
        """Change options of a step.

        Raises:
            InvalidInputError: The step or its option does not exist.
        """
        step = self._steps[self._place(name)]
        for key in options:
            if key not in step.options:
                raise InvalidInputError(f"step {name!r} has no option {key!r}{nearest(key, step.options)}")
        self.replace(name, msgspec.structs.replace(step, options={**step.options, **options}))

    def run(self, **values: Any) -> Values:
        """Run the steps and return all values.

        Raises:
            InvalidInputError: A value is missing or unknown, or a step does not give what it declares.
        """
        if values.keys() != set(self.given):
            raise InvalidInputError(f"pipeline {self.name!r} takes {', '.join(self.given)}, not {', '.join(values)}")
        for step in self._steps:
            for before in self.before:
                before(step.name, dict(values))
            values.update(self._outputs(step, values))
            for after in self.after:
                after(step.name, dict(values))
        return values

    def _outputs(self, step: Step, values: Values) -> dict[str, Any]:
        try:
            outputs = dict(step.run(**{name: values[name] for name in step.inputs}, **step.options))
        except Exception as exc:
            instead = next((found for react in self.on_error if (found := react(step.name, exc)) is not None), None)
            if instead is None:
                raise
            outputs = dict(instead)
        if outputs.keys() != set(step.outputs):
            given, declared = ", ".join(outputs) or "nothing", ", ".join(step.outputs) or "nothing"
            raise InvalidInputError(f"step {step.name!r} gives {given}, and declares {declared}")
        return outputs

    def _place(self, name: str) -> int:
        if name not in self.steps:
            raise InvalidInputError(f"pipeline {self.name!r} has no step {name!r}{nearest(name, self.steps)}")
        return self.steps.index(name)

    def _change(self, steps: Sequence[Step]) -> None:
        names = [step.name for step in steps]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise InvalidInputError(f"pipeline {self.name!r} has a step {twice!r} already: choose another name")
        there = set(self.given)
        for step in steps:
            self._check(step, there)
            there.update(step.outputs)
        missing = [name for name in self.returns if name not in there]
        if missing:
            raise InvalidInputError(f"no step of pipeline {self.name!r} gives {', '.join(missing)}")
        self._steps = tuple(steps)

    def _check(self, step: Step, there: set[str]) -> None:
        missing = next((name for name in step.inputs if name not in there), None)
        if missing is not None:
            raise InvalidInputError(f"nothing before step {step.name!r} gives {missing!r}{nearest(missing, there)}")
        lacking = [name for name in step.needs if name not in self.has]
        if lacking:
            raise InvalidInputError(f"step {step.name!r} needs {', '.join(lacking)}, which the service does not have")
        both = set(step.inputs) & step.options.keys()
        if both:
            raise InvalidInputError(f"{', '.join(sorted(both))} of step {step.name!r} is both an input and an option")
