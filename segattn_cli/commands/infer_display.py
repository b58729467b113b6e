"""What ``segattn infer`` prints: a line or a JSON object for each input, and one for all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from segattn_cli.commands.shared.terminal import complain, remark, remark_left_out
from segattn_cli.errors import ExitCode, printable
from segattn_cli.json_text import json_text

if TYPE_CHECKING:
    from segattn_cli.data.listing import LeftOut
    from segattn_cli.prediction.annotate import FrameDone, VideoDone
    from segattn_cli.prediction.segment import ImageDone, InputFailed, InputSkipped

#: The line of an image names so many classes at most.
MENTIONED = 4
#: A remark names so many images at most.
NAMED = 3


class Noted:
    """Images with something in common: how many there are, and the names of the first."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[str] = []

    def add(self, image: str) -> None:
        self.count += 1
        if len(self.first) <= NAMED:
            self.first.append(Path(image).name)


class Tally:
    """Prints what happens on standard output, complaints on standard error, and counts."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.counts = {"segmented": 0, "skipped": 0, "failed": 0}
        self.broken = False  # whether a video ended before its time
        self.left_out: dict[str, list[str]] = {}  # paths by reason
        self.notes: dict[str, Noted] = {}  # by what a user should know of how images were read

    def leave_out(self, left_out: Sequence[LeftOut]) -> None:
        """Say what of the inputs' folders is not taken."""
        remark_left_out(left_out)
        for path, reason in left_out:
            self.left_out.setdefault(reason, []).append(str(path))

    def show(self, event: ImageDone | InputSkipped | InputFailed | FrameDone | VideoDone) -> None:
        from segattn_cli.prediction.annotate import VideoDone
        from segattn_cli.prediction.segment import ImageDone, InputFailed, InputSkipped

        if isinstance(event, InputFailed):
            complain(event.reason)
            self._say("failed", event.input, {"reason": event.reason}, "")
        elif isinstance(event, InputSkipped):
            self._say("skipped", event.input, _strings(event.outputs), "")
        elif isinstance(event, ImageDone):
            self._image(event)
        elif isinstance(event, VideoDone):
            self._video(event)

    def _image(self, event: ImageDone) -> None:
        for note in event.notes:
            self.notes.setdefault(note, Noted()).add(event.input)
        values = {
            "size": event.size,
            "shares": event.shares,
            "mean_confidence": event.confidence,
            "scale_weights": event.scale_weights,
            "seconds": round(event.seconds, 4),
            "notes": event.notes,
        }
        line = f"{event.outputs['label']}  {_largest(event.shares)}"
        self._say("segmented", event.input, {**_strings(event.outputs), **values}, line)

    def _video(self, event: VideoDone) -> None:
        if event.broken is not None:
            self.broken = True
            complain(f"{event.broken} The video ends there.")
        values = {
            "video": str(event.path),
            "frames": event.frames,
            "size": event.size,
            "rate": str(event.rate),
            "shares": event.shares,
            "broken": event.broken,
            "seconds": round(event.seconds, 4),
        }
        line = f"{event.path}  {event.frames} frame{'s' * (event.frames != 1)}, {_largest(event.shares)}"
        self._say("segmented", event.input, values, line)

    def finish(self, checkpoint: Path, backend: str, others: Sequence[Path] = (), shard: str = "1/1") -> None:
        """The last lines, and the exit code where something failed; ``others`` are averaged with ``checkpoint``."""
        from segattn_cli.data.listing import first_names

        if self.as_json:
            summary = {"checkpoint": str(checkpoint), "backend": backend, "shard": shard, "left_out": self.left_out}
            summary |= {"with": [str(each) for each in others]} if others else {}
            print(json_text({"summary": {**self.counts, **summary}}))
        else:
            said = ", ".join(f"{count} {what}" for what, count in self.counts.items() if count)
            remark(said or "no input")
        for note, images in self.notes.items():
            count = f"{images.count} image{'s' * (images.count > 1)}"
            remark(f"{count} ({first_names(images.first, NAMED)}): {note}.")
        failed = self.counts["failed"]
        if failed or self.broken:
            raise typer.Exit(ExitCode.DATA if failed == sum(self.counts.values()) else ExitCode.PARTIAL)

    def _say(self, status: str, input: str, values: dict[str, Any], line: str) -> None:
        self.counts[status] += 1
        text = json_text({"input": input, "status": status, **values}) if self.as_json else printable(line)
        if text:
            print(text, flush=True)


def _strings(paths: dict[str, Path]) -> dict[str, str]:
    return {kind: str(path) for kind, path in paths.items()}


def _largest(shares: dict[str, float]) -> str:
    """The classes that take most."""
    from segattn_cli.rendering.style import percent

    return ", ".join(f"{name} {percent(share)}" for name, share in list(shares.items())[:MENTIONED])
