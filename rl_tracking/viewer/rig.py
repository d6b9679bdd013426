"""Moves the camera: by the keys and the mouse, by a slow turn, and after the flight. Opens no window."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from rl_tracking.viewer.camera import Camera, camera_for_arena
from rl_tracking.viewer.frame import Frame

HAND_RATE = 9.0
ZOOM_RATE = 4.0
FOLLOW_RATE = 1.6
"""How fast the camera glides to its goal, as rates of an exponential [1/s]: for keys and mouse, zoom, and flight."""
TURN = math.radians(2.5)
LIFT = -0.08
"""The picture's middle lies a little above the middle of the window, where no instrument covers it."""
SLACK = 0.22
"""How far the chase may stray from the middle before a calm camera follows, as a share of its distance."""


class CameraRig:
    """A camera that glides to where it is wanted.

    Attributes:
        following: whether it looks at the chase; else at the whole arena.
        turning: whether it turns slowly by itself.
        calm: whether it stands still until the chase has left the middle, so that a film takes far less room.
        camera: the camera now.
    """

    def __init__(self, frame: Frame, *, following: bool = True, turning: bool = True, calm: bool = False) -> None:
        self.following, self.turning, self.calm = following, turning, calm
        whole = camera_for_arena(frame.low, frame.high)
        self._wanted = replace(whole, shift=(0.0, LIFT))
        self._whole = whole.distance
        self._zoom = 1.0
        self.camera = self._goal = self._framed(frame)

    def orbit(self, azimuth: float, elevation: float) -> None:
        """Turn by the angles [rad]."""
        self._wanted = self._wanted.orbited(azimuth, elevation)

    def zoom(self, factor: float) -> None:
        """Enlarge by ``factor``."""
        self._zoom = min(max(self._zoom * factor, 0.3), 8.0)

    def toggle_follow(self) -> None:
        """Look at the chase, or at the whole arena."""
        self.following = not self.following

    def toggle_turn(self) -> None:
        """Turn slowly, or stand still."""
        self.turning = not self.turning

    def cut(self, frame: Frame) -> None:
        """Jump to where it is wanted, as at the start of an episode."""
        self.camera = self._goal = self._framed(frame)

    def advance(self, seconds: float, frame: Frame) -> None:
        """Glide for ``seconds`` of the watcher's time towards where the frame wants the camera."""
        if self.turning:
            self._wanted = self._wanted.orbited(TURN * seconds, 0.0)
        wanted = self._framed(frame)
        if not self.calm or _strayed(self._goal, wanted):
            self._goal = wanted
        if self.camera == self._goal:
            return
        self.camera = self._glided(seconds)
        if self.calm and _reached(self.camera, self._goal):
            self.camera = self._goal

    def _glided(self, seconds: float) -> Camera:
        """The camera ``seconds`` later on its way to the goal: keys and mouse are followed fast, the flight gently."""
        goal, now = self._goal, self.camera
        hand, zoom, follow = (1.0 - math.exp(-rate * seconds) for rate in (HAND_RATE, ZOOM_RATE, FOLLOW_RATE))
        turn = math.remainder(goal.azimuth - now.azimuth, 2 * math.pi)
        place, aim = np.asarray(now.target), np.asarray(goal.target)
        turned = now.orbited(hand * turn, hand * (goal.elevation - now.elevation))
        nearer = (now.distance / goal.distance) ** zoom
        return turned.zoomed(nearer).looking_at(place + follow * (aim - place))

    def _framed(self, frame: Frame) -> Camera:
        """The camera as it should be for a frame."""
        low, high = frame.low, frame.high
        centre = (low + high) / 2
        chase = frame.moment.of_role("pursuer", "target")
        if not self.following or not len(chase):
            return replace(self._wanted, distance=self._whole).zoomed(self._zoom).looking_at(centre)
        middle = (chase.min(axis=0) + chase.max(axis=0)) / 2
        spread = float(np.linalg.norm(chase.max(axis=0) - chase.min(axis=0)))
        distance = (0.4 if self.calm else 0.29) * self._whole + 1.15 * spread
        aim = middle + (0.25, 0.25, 0.28) * (centre - middle)
        return replace(self._wanted, distance=min(distance, self._whole)).zoomed(self._zoom).looking_at(aim)


def _strayed(goal: Camera, wanted: Camera) -> bool:
    """Whether the chase has left the middle of what ``goal`` shows, or its size has changed by much."""
    offset = float(np.linalg.norm(np.subtract(wanted.target, goal.target)))
    return offset > SLACK * goal.distance or not 0.7 < wanted.distance / goal.distance < 1.4


def _reached(camera: Camera, goal: Camera) -> bool:
    """Whether the goal is so near that the rest of the way would hardly be seen."""
    offset = float(np.linalg.norm(np.subtract(camera.target, goal.target)))
    return offset < 0.002 * goal.distance and abs(camera.distance / goal.distance - 1.0) < 0.004
