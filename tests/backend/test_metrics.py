"""Laws of the metrics: identities, known distances, invariances."""

import pytest
import torch

from vitruvian.evaluate import metrics


def test_psnr_of_a_known_error():
    a = torch.zeros(1, 3, 8, 8)
    assert metrics.psnr(a, a + 0.1) == pytest.approx(20.0, abs=1e-3)


def test_psnr_looks_only_inside_the_mask():
    a, b = torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8)
    b[..., 4:] = 1.0
    mask = torch.zeros(1, 8, 8, dtype=torch.bool)
    mask[..., :4] = True
    assert metrics.psnr(a, b, mask) > 90
    assert metrics.psnr(a, b) < 10


def test_dominant_colour_of_stripes_is_the_ground_not_the_mixture():
    ground, stripe = [0.8, 0.1, 0.1], [1.0, 1.0, 1.0]
    rgb = torch.tensor([ground] * 6 + [stripe] * 4).repeat(50, 1)
    assert torch.allclose(metrics.dominant_colour(rgb), torch.tensor(ground), atol=5e-3)


def test_laplacian_energy_falls_with_blur_and_ignores_the_silhouette():
    images = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(1, 32, 32, dtype=torch.bool)
    mask[:, 4:28, 4:28] = True
    blurred = torch.nn.functional.avg_pool2d(images, 3, stride=1, padding=1)
    assert metrics.laplacian_energy(blurred, mask) < 0.2 * metrics.laplacian_energy(images, mask)
    other_background = torch.where(mask[:, None], images, torch.ones_like(images))
    assert metrics.laplacian_energy(other_background, mask) == metrics.laplacian_energy(images, mask)


def test_sliced_wasserstein_of_a_shift_is_the_mean_projected_shift():
    points = torch.randn(500, 6, generator=torch.Generator().manual_seed(1))
    assert metrics.sliced_wasserstein(points, points) == 0
    near, far = (metrics.sliced_wasserstein(points, points + s) for s in (0.1, 0.2))
    assert far == pytest.approx(2 * near, rel=1e-4)
    shuffled = points[torch.randperm(500, generator=torch.Generator().manual_seed(2))]
    assert metrics.sliced_wasserstein(points, shuffled) == pytest.approx(0, abs=1e-6)


def test_patches_stay_inside_the_mask():
    images = torch.zeros(1, 3, 20, 20)
    mask = torch.zeros(1, 20, 20, dtype=torch.bool)
    mask[:, 5:15, 5:15] = True
    images[:, :, 5:15, 5:15] = 1.0
    assert bool((metrics.patches(images, mask, size=3, count=100) == 1).all())
