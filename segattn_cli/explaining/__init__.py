"""What a network's attentions see in a picture, and what becomes of its prediction without them."""

from segattn_cli.explaining.channels import ChannelView
from segattn_cli.explaining.explanation import Experiment, Explanation, ScaleView, explain
from segattn_cli.explaining.positions import PositionView

__all__ = ["ChannelView", "Experiment", "Explanation", "PositionView", "ScaleView", "explain"]
