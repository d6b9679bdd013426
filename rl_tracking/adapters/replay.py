"""Restoring by playing an episode again, for environments whose state cannot be read (Box2D).

Slow: a restore costs as many steps as the episode has had.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from rl_tracking.adapters.freezing import (
    CODECS,
    Codecs,
    Freezer,
    Node,
    NotCopyableError,
    Thawer,
    differences,
    places_of,
    same,
)
from rl_tracking.adapters.layers import CopyableFields, Layer
from rl_tracking.adapters.stacks import Env, given, layers_of
from rl_tracking.adapters.strategies import Fields
from rl_tracking.restoring.protocol import NotRestorableError, name_of

_NOT_COMPARED = frozenset({"space"})  # others may draw from spaces, too


class Recorder(gym.Wrapper[Any, Any, Any, Any]):
    """Records the state of an environment before its reset, the arguments of the reset, and the actions since."""

    is_recorder = True

    def __init__(self, env: Env, *, with_spaces: bool) -> None:
        super().__init__(env)
        self._fields, self.spaces = CopyableFields(env), Layer(env, fields=False, spaces=with_spaces)
        self.codecs = CODECS
        self._places = places_of([env])
        self.start: Node | None = None
        self.actions: list[Any] = []

    def now(self) -> Node:
        """The fields that can be copied, the generator among them; without spaces, from which others may draw."""
        return self._fields.freeze(Freezer(self.codecs, self._places))

    def put(self, fields: Node) -> None:
        """Set these fields."""
        self._fields.thaw(fields, Thawer(self.codecs, [self.env]))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """A new episode."""
        spaces = self.spaces.freeze(Freezer(self.codecs, self._places))
        try:
            arguments = Freezer(CODECS).freeze([seed, options])
        except NotCopyableError as error:
            raise NotRestorableError(f"the options of a reset of {name_of(self)} cannot be kept: {error}") from error
        self.start = Node("start", "", [self.now(), spaces, arguments])
        self.actions = []
        return self.env.reset(seed=seed, **given(options))

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """One step more."""
        self.actions.append(Freezer(CODECS).freeze(action))
        return self.env.step(action)

    def play(self, start: Node, actions: list[Any]) -> None:
        """Go where these actions lead: from here if the recorded past is the same, else from the reset."""
        done = len(self.actions)
        if self.start is not start or done > len(actions) or not all(map(same, self.actions, actions)):
            # Restore what there was before the reset, and reset in the same way.
            fields, spaces, arguments = start.content
            self.put(fields)
            self.spaces.thaw(spaces, Thawer(self.codecs, [self.env]))
            seed, options = Thawer(CODECS, []).thaw(arguments)
            self.env.reset(seed=seed, **given(options))
            self.start, self.actions, done = start, [], 0
        for action in actions[done:]:
            # Fields among the actions stand for other random numbers from there on.
            if type(action) is Node and action.kind == "layer-state":
                self.put(action)
            else:
                self.env.step(Thawer(CODECS, []).thaw(action))
        self.actions = list(actions)

    def renew(self, fields: Node) -> None:
        """Set the fields, generators among them, and record that, because the same actions now lead elsewhere."""
        self.put(fields)
        self.actions.append(fields)


class Replay(Fields):
    """The same reset and the same actions again."""

    title = "playing the episode again from its reset"
    slow = True
    seeds_resets = True  # else the second episode could not be repeated where only a seed brings back the generator

    def __init__(self, env: Env, *, with_spaces: bool = True) -> None:
        base, innermost, *_ = layers_of(env)
        self._recorder = Recorder(base, with_spaces=with_spaces)
        innermost.env = self._recorder  # type: ignore[attr-defined]
        super().__init__(env, with_spaces=with_spaces)
        self._recorder.codecs = self._codecs
        self._parts[0] = self._recorder.spaces

    def _applicable_codecs(self) -> Codecs:
        return CODECS

    def _core(self, freezer: Freezer) -> Any:
        recorder = self._recorder
        if recorder.start is None:
            raise NotRestorableError(f"{name_of(self.env)} has to be reset before it is saved")
        return Node("history", "", [recorder.start, list(recorder.actions), recorder.now()])

    def _restore_core(self, core: Any, thawer: Thawer) -> None:
        start, actions, fields = core.content
        self._recorder.play(start, actions)
        if core.label == "reseeded":
            self._recorder.renew(fields)
            return
        differing = list(differences(fields, self._recorder.now(), _NOT_COMPARED))
        if differing:
            raise NotRestorableError(
                f"{name_of(self.env)} cannot be restored: played again, it came out with another {differing[0]}"
            )
