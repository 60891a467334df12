"""What VidVAE training minimises. Plain functions; they know of no model."""

from __future__ import annotations

from torch import Tensor

GRADIENT_WEIGHT = 0.7
SQUARE_WEIGHT = 4.0
KL_WEIGHT = 3e-4


def gradient_l1(error: Tensor) -> Tensor:
    """Mean absolute difference of neighbours in time, height and width, summed over the three. error: (B, C, T, H, W).

    Of an error reconstruction - video it is the L1 distance of their gradients: it keeps edges sharp and motion steady.
    """
    total = error.new_zeros(())
    for axis in (2, 3, 4):
        if error.shape[axis] > 1:
            total = total + error.diff(dim=axis).abs().mean()
    return total


def reconstruction_loss(reconstruction: Tensor, video: Tensor) -> Tensor:
    """L1 + 0.7 L1 of the gradients in space and time + 4 MSE, in fp32. Both (B, 3, T, H, W) in [-1, 1]; a scalar."""
    error = reconstruction.float() - video.float()
    return error.abs().mean() + GRADIENT_WEIGHT * gradient_l1(error) + SQUARE_WEIGHT * error.square().mean()


def vae_loss(reconstruction: Tensor, video: Tensor, kl: Tensor) -> Tensor:
    """The reconstruction loss + 3e-4 KL. `kl`: mean nats a latent value (`Posterior.kl`)."""
    return reconstruction_loss(reconstruction, video) + KL_WEIGHT * kl
