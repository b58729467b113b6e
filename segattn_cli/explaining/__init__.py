"""How a network's attentions work on an image, and experiments that ablate them."""

from segattn_cli.explaining.channels import ChannelView
from segattn_cli.explaining.experiments import Experiment
from segattn_cli.explaining.explanation import Explanation, ScaleView, explain
from segattn_cli.explaining.positions import PositionView

__all__ = ["ChannelView", "Experiment", "Explanation", "PositionView", "ScaleView", "explain"]
