"""The window with its loop and its keys; without a window, the same pictures as files."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")

import pygame

from rl_tracking.errors import UsageError
from rl_tracking.viewer.draw import draw_frame
from rl_tracking.viewer.outputs import check_outputs, check_step
from rl_tracking.viewer.pictures import Player, write
from rl_tracking.viewer.runtime import Runtime
from rl_tracking.viewer.show import FILM_SECONDS, Show

ORBIT_SPEED = 1.4  # of the arrow keys [rad/s]
ZOOM_SPEED = 2.0  # of + and -, a second
DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")
LONGEST_FRAME = 0.1  # where a picture took longer, the flight does not skip ahead [s]


def watch(
    runtime: Runtime,
    *,
    headless: bool = False,
    screenshot: Path | None = None,
    record: Path | None = None,
    size: tuple[int, int] = (1280, 720),
    fps: int = 60,
    max_seconds: float | None = None,
    screenshot_step: int | None = None,
) -> list[Path]:
    """Show the episodes of ``runtime`` in a window, or write pictures of them to files.

    Args:
        runtime: plays the episodes.
        headless: open no window; end as soon as the files are complete.
        screenshot: a .png of ``screenshot_step``, or else of a pursuer near a zone.
        record: a .gif or .mp4 of one whole episode, of ``FILM_SECONDS`` at most.
        size: of the window and of the screenshot, in pixels.
        fps: pictures a second in the window.
        max_seconds: close the window and end the film after so long [s].
        screenshot_step: the step of the screenshot.

    Returns:
        The files written.

    Raises:
        UsageError: a file that cannot be written, nothing to do, a step that no episode has, or no display.
    """
    check_outputs(screenshot, record, headless=headless)
    check_step(screenshot_step, runtime.simulator.scenario.max_steps)
    seconds = FILM_SECONDS if max_seconds is None else min(max_seconds, FILM_SECONDS)
    show = Show(
        runtime,
        size,
        screenshot=screenshot,
        screenshot_step=screenshot_step,
        record=record,
        film_seconds=seconds,
    )
    try:
        if headless:
            while show.busy:
                show.advance(1.0 / show.fps)
        else:
            _Window(show, size, fps, max_seconds).run()
    except KeyboardInterrupt:
        pass
    except BaseException:
        show.discard()
        raise
    return show.finish()


class _Window:
    """A window, its keys and its mouse."""

    def __init__(self, show: Show, size: tuple[int, int], fps: int, max_seconds: float | None) -> None:
        self._show, self._size, self._fps, self._max_seconds = show, size, fps, max_seconds
        self._open, self._help = True, False
        self._held: dict[int, str] = {}
        runtime, rig = show.runtime, show.rig
        self._keys: dict[str, Callable[[], None]] = {
            " ": runtime.toggle,
            ".": runtime.forward,
            ",": runtime.back,
            "[": lambda: runtime.faster(0.5),
            "]": lambda: runtime.faster(2.0),
            "r": self._restart,
            "f": rig.toggle_follow,
            "o": rig.toggle_turn,
            "h": self._toggle_help,
            "q": self._close,
        }

    def run(self) -> None:
        """Draw pictures until the window is closed, the time is over or the last episode has ended."""
        _open_window(self._size, f"rl_tracking   {self._show.frame.pilot}   (h: keys)")
        try:
            clock, passed = pygame.time.Clock(), 0.0
            while self._open and not self._show.runtime.finished:
                seconds = min(clock.tick(self._fps) / 1000.0, LONGEST_FRAME)
                for event in pygame.event.get():
                    self._handle(event)
                self._move_camera(seconds)
                self._show.advance(seconds)
                draw_frame(
                    pygame.display.get_surface(),
                    self._show.rig.camera,
                    self._show.frame,
                    show_help=self._help,
                )
                pygame.display.flip()
                passed += seconds
                if self._max_seconds is not None and passed >= self._max_seconds:
                    self._close()
        finally:
            pygame.display.quit()

    def _handle(self, event: pygame.event.Event) -> None:
        """Handle one event; keys are recognised by their character, so the keyboard's layout does not matter."""
        rig = self._show.rig
        if event.type == pygame.QUIT or (event.type == pygame.KEYDOWN and event.key == pygame.K_ESCAPE):
            self._close()
        elif event.type == pygame.KEYDOWN:
            self._held[event.key] = event.unicode
            self._keys.get(event.unicode.lower(), lambda: None)()
        elif event.type == pygame.KEYUP:
            self._held.pop(event.key, None)
        elif event.type == pygame.MOUSEMOTION and event.buttons[0]:
            rig.turning = False
            rig.orbit(-0.006 * event.rel[0], 0.005 * event.rel[1])
        elif event.type == pygame.MOUSEWHEEL:
            rig.zoom(1.12**event.y)

    def _move_camera(self, seconds: float) -> None:
        """Turn and zoom for as long as a key is held."""
        rig, angle = self._show.rig, ORBIT_SPEED * seconds
        turns = {
            pygame.K_LEFT: (-angle, 0.0),
            pygame.K_RIGHT: (angle, 0.0),
            pygame.K_UP: (0.0, angle),
            pygame.K_DOWN: (0.0, -angle),
        }
        for key, character in self._held.items():
            if key in turns:
                rig.turning = False
                rig.orbit(*turns[key])
            elif character in ("+", "="):
                rig.zoom(ZOOM_SPEED**seconds)
            elif character in ("-", "_"):
                rig.zoom(ZOOM_SPEED**-seconds)

    def _restart(self) -> None:
        self._show.runtime.restart()
        self._show.runtime.play()
        self._show.rig.cut(self._show.runtime.frame())

    def _toggle_help(self) -> None:
        self._help = not self._help

    def _close(self) -> None:
        self._open = False


def watch_pictures(
    player: Player,
    *,
    headless: bool = False,
    screenshot: Path | None = None,
    record: Path | None = None,
    screenshot_step: int | None = None,
    max_seconds: float | None = None,
) -> list[Path]:
    """Show what an environment renders: space pauses, . steps, r restarts, q quits. Files are written first.

    Args:
        player: plays the episodes; it is closed at the end.
        headless: open no window.
        screenshot: a .png of ``screenshot_step``, or of some moment.
        record: a .gif or .mp4 of the first episode.
        screenshot_step: the step of the screenshot.
        max_seconds: close the window after so long [s].

    Returns:
        The files written.

    Raises:
        UsageError: a file that cannot be written, nothing to do, no display, or nothing that can be rendered.
    """
    check_outputs(screenshot, record, headless=headless)
    check_step(screenshot_step, player.max_steps)
    seed = player.episode.seed
    try:
        if not headless:
            height, width = player.picture().shape[:2]
            _open_window((width, height), player.caption)
        written = []
        if screenshot is not None or record is not None:
            written = write(player, screenshot=screenshot, screenshot_step=screenshot_step, record=record)
            player.restart(seed)
        if not headless:
            _run_pictures(player, max_seconds)
        return written
    finally:
        pygame.display.quit()
        player.close()


def _run_pictures(player: Player, max_seconds: float | None) -> None:
    keys = {" ": player.toggle, ".": player.forward, "r": player.again}
    clock, passed, due = pygame.time.Clock(), 0.0, 0.0
    while max_seconds is None or passed < max_seconds:
        for event in pygame.event.get():
            key = event.unicode.lower() if event.type == pygame.KEYDOWN else ""
            if event.type == pygame.QUIT or key == "q" or (key and event.key == pygame.K_ESCAPE):
                return
            keys.get(key, lambda: None)()
        seconds = min(clock.tick(60) / 1000.0, LONGEST_FRAME)
        passed, due = passed + seconds, due + seconds
        if player.playing and due >= 1.0 / player.fps:
            due %= 1.0 / player.fps
            player.step()
        _blit(player)


def _blit(player: Player) -> None:
    """Draw the picture as large as the window allows."""
    window = pygame.display.get_surface()
    picture = pygame.surfarray.make_surface(player.picture().swapaxes(0, 1))
    share = min(window.get_width() / picture.get_width(), window.get_height() / picture.get_height())
    size = (max(1, round(picture.get_width() * share)), max(1, round(picture.get_height() * share)))
    window.fill((0, 0, 0))
    window.blit(
        pygame.transform.smoothscale(picture, size),
        ((window.get_width() - size[0]) // 2, (window.get_height() - size[1]) // 2),
    )
    pygame.display.set_caption(player.caption + ("" if player.playing else "   paused"))
    pygame.display.flip()


def _open_window(size: tuple[int, int], title: str) -> None:
    """Open the window.

    Raises:
        UsageError: this machine has no display.
    """
    if sys.platform.startswith("linux"):
        # The CPU draws the picture; passing it on without OpenGL is faster, ten times so on a machine without a GPU.
        os.environ.setdefault("SDL_FRAMEBUFFER_ACCELERATION", "0")
    try:
        if sys.platform.startswith("linux") and not any(name in os.environ for name in DISPLAYS):
            raise pygame.error("no display")  # else SDL would open a window that nobody sees
        pygame.display.init()
        pygame.display.set_caption(title)
        pygame.display.set_mode(size, pygame.RESIZABLE)
    except pygame.error as error:
        pygame.display.quit()
        raise UsageError(
            f"no window can be opened here ({error}); use --headless with --screenshot FILE.png or --record FILE.gif"
        ) from error
