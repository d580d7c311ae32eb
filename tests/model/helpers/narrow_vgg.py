"""VGG16 with few channels in place of Keras': the same layers and names, 1/200 of the parameters.

For tests of what surrounds a network, which its width does not change: a whole VGG16 puts 59 MB into every
checkpoint. test_train_vgg16.py trains the real one.
"""

from __future__ import annotations

import functools
from typing import Any

from alti2v.model import backend
from alti2v.model.options.choices import TRUNK_LAYERS

_CHANNELS = {"1": 8, "2": 12, "3": 16, "4": 24, "5": 32}  # of the blocks


def put_narrow_vgg16(patch: Any) -> None:
    """Replace VGG16 by the narrow one.

    Args:
        patch: a pytest.MonkeyPatch, which undoes it.
    """
    applications = backend.keras.applications

    @functools.wraps(applications.VGG16)  # its pixels are prepared by the module that the function names
    def narrow(
        *, include_top: bool, weights: str | None, input_tensor: Any = None, input_shape: Any = None
    ) -> Any:
        assert not include_top
        x = images = backend.keras.Input(input_shape) if input_tensor is None else input_tensor
        for name in TRUNK_LAYERS:
            block, number = name.removeprefix("block").split("_conv")
            if number == "1" and block != "1":
                x = backend.keras.layers.MaxPooling2D(2, name=f"block{int(block) - 1}_pool")(x)
            convolution = backend.keras.layers.Conv2D(
                _CHANNELS[block], 3, activation="relu", padding="same", name=name
            )
            x = convolution(x)
        x = backend.keras.layers.MaxPooling2D(2, name="block5_pool")(x)
        model = backend.keras.Model(backend.keras.utils.get_source_inputs(images), x, name="vgg16")
        if weights is not None:
            model.load_weights(weights)
        return model

    patch.setattr(applications, "VGG16", narrow)
