"""The judge: a small CNN that names the class of a rasterised drawing (SketchODE, section 5.2).

Trained on rasters of original training drawings, warped by small affine maps before rasterising, so
that the ink keeps its width. Its accuracy on original test drawings is the ceiling of every
reconstruction's accuracy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from ink.table import Ink
from models.base import Batch, Raster, SketchModel, require


@dataclass(frozen=True)
class RecognizerConfig:
    """Settings of the recogniser.

    Args:
        classes: number of labels.
        size: side of the raster, pixels.
        line_width: of the ink, pixels.
        channels: of the four convolutions.
        dropout: before the last layer.
        max_rotation_deg, max_shear, max_stretch: bounds of the random affine maps.
    """

    classes: int
    size: int
    line_width: float
    channels: tuple[int, ...]
    dropout: float
    max_rotation_deg: float
    max_shear: float
    max_stretch: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))
        require(self.classes >= 1, f"classes must be at least 1, got {self.classes}")
        require(self.size % 16 == 0, f"size must be a multiple of 16, got {self.size}")
        require(len(self.channels) == 4, f"channels must be four numbers, got {self.channels}")


class Recognizer(SketchModel):
    """Four stride-2 convolutions with batch norm, global average, linear."""

    Config = RecognizerConfig

    def __init__(self, config: RecognizerConfig) -> None:
        super().__init__()
        self.config = config
        layers: list[nn.Module] = []
        inputs = 1
        for outputs in config.channels:
            layers += [
                nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
            ]
            inputs = outputs
        self.features = nn.Sequential(*layers)
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(inputs * (config.size // 16) ** 2, config.classes)

    @property
    def representation(self) -> Raster:
        """One antialiased picture."""
        return Raster(self.config.size, self.config.line_width)

    def classify(self, points: Tensor) -> Tensor:
        """(B, 1, size, size) in [0, 1] -> (B, classes) logits."""
        return self.output(self.dropout(self.features(points).flatten(1)))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy in nats, and the error rate of the batch."""
        logits = self.classify(batch["points"])
        loss = nn.functional.cross_entropy(logits, batch["label"])
        return {"loss": loss, "error": (logits.argmax(1) != batch["label"]).float().mean()}

    def augment(self, ink: Ink, generator: np.random.Generator) -> Ink:
        """Turn, shear and stretch each drawing by a random affine map of its own."""
        config, count = self.config, len(ink)
        angle = np.deg2rad(config.max_rotation_deg) * generator.uniform(-1, 1, count)
        shear = config.max_shear * generator.uniform(-1, 1, count)
        stretch = np.exp(config.max_stretch * generator.uniform(-1, 1, count))
        cos, sin = np.cos(angle), np.sin(angle)
        of_point = np.repeat(np.arange(count), np.diff(ink.point_offsets))
        x, y = (ink.x + shear[of_point] * ink.y) * stretch[of_point], ink.y
        turned_x = cos[of_point] * x - sin[of_point] * y
        turned_y = sin[of_point] * x + cos[of_point] * y
        return ink.with_xy(turned_x, turned_y)
