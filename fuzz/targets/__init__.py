"""The targets, a module each: ``seeds()``, ``one_input(data)``, and ``mutated`` where bytes alone get nowhere."""

from __future__ import annotations

#: The targets by name, and the modules in which new code is looked for.
TARGETS = {
    "images": ("segattn_cli.data", "PIL"),
    "masks": ("segattn_cli.data", "PIL"),
    "lists": ("segattn_cli.data",),
    "configurations": ("segattn_cli.config", "tomllib"),
    "checkpoints": ("segattn_cli.runs", "segattn_cli.weights"),
    "runs": ("segattn_cli.runs", "segattn_cli.config"),
    "evaluations": ("segattn_cli.prediction.saved_evaluation", "zipfile", "numpy.lib"),
    "annotations": ("segattn_cli.data.annotations", "segattn_cli.data.class_files"),
    "weights": ("segattn_cli.weights", "pickletools", "zipfile"),
    "downloads": ("segattn_cli.data.download", "http.client"),
    "videos": ("segattn_cli.prediction.video",),
}
#: Packages that targets need beside the project's own, and how to install them.
NEEDED = {"videos": ("av", "pip install 'segattn[video]'")}
