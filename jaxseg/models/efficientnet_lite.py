"""EfficientNet-Lite0 as an encoder (Google, TensorFlow TPU models, 2020), with atrous convolution.

EfficientNet-B0 (Tan, Le, ICML 2019, table 1) without squeeze-and-excitation and with ReLU6 for
Swish: blocks of MobileNetV2 with kernels of 3 and 5. The stem is not scaled with the width. The
published weights need padding "tf_same" and norm_epsilon 1e-3.
"""

import flax.linen as nn
from jaxtyping import Array, Float

from jaxseg.models.atrous import check_output_stride
from jaxseg.models.mobilenet_v2 import Row, inverted_residuals
from jaxseg.ops.layers import Layers

VARIANTS = {
    "efficientnet_lite0": (
        Row(1, 16, 1, 1, 3),
        Row(6, 24, 2, 2, 3),
        Row(6, 40, 2, 2, 5),
        Row(6, 80, 3, 2, 3),
        Row(6, 112, 3, 1, 5),
        Row(6, 192, 4, 2, 5),
        Row(6, 320, 1, 1, 3),
    )
}


class EfficientNetLite(nn.Module):
    """Endpoints "stem" and "stage1".."stage4", which are block3, block5, block11 and block16.

    Channels 32, 24, 40, 112, 320. Strides and options as in `mobilenet_v2.MobileNetV2`.
    """

    variant: str
    layers: Layers
    output_stride: int = 32
    width_multiplier: float = 1.0

    def __post_init__(self):
        check_output_stride(self.output_stride)
        super().__post_init__()

    @nn.compact
    def __call__(self, images: Float[Array, "b h w c"]) -> dict[str, Array]:
        rows = VARIANTS[self.variant]
        return inverted_residuals(
            images, rows, self.layers, 32, self.output_stride, self.width_multiplier
        )
