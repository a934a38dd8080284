"""Writes what PyTorch and scikit-image make of small maps to tests/ops/fixtures/.

    pip install torch==2.13.0 scikit-image==0.26.0
    python tests/ops/references.py

The tests read the files and need neither package.
"""

# pyright: reportMissingImports=false, reportArgumentType=false

from pathlib import Path

import numpy as np

FIXTURES = Path(__file__).with_name("fixtures")
# height and width before and after: odd, larger, smaller, larger one way and smaller the other
SIZES = [((5, 4), (13, 9)), ((7, 9), (3, 5)), ((3, 6), (7, 4)), ((4, 3), (12, 9)), ((1, 5), (6, 2))]
METHODS = ["bilinear", "bicubic"]
CORNERS = {"half_pixel": False, "aligned": True}  # PyTorch's align_corners


def pytorch_interpolate() -> dict[str, np.ndarray]:
    """Output of each size, method and convention, and the gradient of its sum weighted by `w_`."""
    import torch

    arrays: dict[str, np.ndarray] = {}
    rng = np.random.default_rng(0)
    for number, (old, new) in enumerate(SIZES):
        x = rng.normal(size=(2, *old, 3)).astype(np.float32)
        weights = rng.normal(size=(2, *new, 3)).astype(np.float32)
        arrays[f"x_{number}"], arrays[f"w_{number}"] = x, weights
        for method in METHODS:
            for corners, aligned in CORNERS.items():
                planes = torch.from_numpy(x).double().permute(0, 3, 1, 2).requires_grad_()
                y = torch.nn.functional.interpolate(planes, new, mode=method, align_corners=aligned)
                y = y.permute(0, 2, 3, 1)
                (y * torch.from_numpy(weights)).sum().backward()
                assert planes.grad is not None
                gradient = planes.grad.permute(0, 2, 3, 1)
                name = f"{number}_{method}_{corners}"
                arrays[f"y_{name}"] = y.detach().numpy().astype(np.float32)
                arrays[f"g_{name}"] = gradient.numpy().astype(np.float32)
    return arrays


def skimage_rescale() -> dict[str, np.ndarray]:
    """An image, and that image larger by 2 to 9, linear, zero outside."""
    from skimage.transform import rescale

    x = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
    options = {"order": 1, "mode": "constant", "cval": 0, "anti_aliasing": False}
    return {"x": x} | {f"y_{n}": rescale(x, n, **options) for n in range(2, 10)}


if __name__ == "__main__":
    FIXTURES.mkdir(exist_ok=True)
    np.savez_compressed(FIXTURES / "pytorch_interpolate.npz", **pytorch_interpolate())
    np.savez_compressed(FIXTURES / "skimage_rescale.npz", **skimage_rescale())
