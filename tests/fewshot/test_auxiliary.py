import math

import pytest
import torch
from torch.nn import functional as F

from srwm.errors import UserError
from srwm.fewshot.auxiliary import AuxiliaryConfig, ClassLoss, NeighborLoss, build_auxiliary
from srwm.fewshot.protocols.registry import check_config, with_second


def test_the_loss_of_neighbors_is_that_of_its_definition():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(7, 5, generator=generator, dtype=torch.float64)
    classes = torch.tensor([3, 1, 3, 8, 1, 3, 9])  # 8 and 9 stand alone
    unit = F.layer_norm(features, (5,))
    terms = []
    for i in (0, 1, 2, 4, 5):
        weights = {j: math.exp(float(torch.cosine_similarity(unit[i], unit[j], dim=0)) / 0.2) for j in range(7) if j != i}
        terms.append(-math.log(sum(w for j, w in weights.items() if classes[j] == classes[i]) / sum(weights.values())))
    assert NeighborLoss(0.2)(features, classes).item() == pytest.approx(sum(terms) / 5, rel=1e-9)
    features.requires_grad_()
    assert torch.autograd.gradcheck(lambda f: NeighborLoss(0.2)(f, classes), features)


def test_images_without_a_neighbor_of_their_class_do_not_count():
    features = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = NeighborLoss(0.1)(features, torch.arange(3))
    (gradient,) = torch.autograd.grad(loss, features)
    assert loss == 0
    assert (gradient == 0).all()


def test_the_loss_of_classes_is_a_cross_entropy():
    torch.manual_seed(0)
    loss = ClassLoss(4, 6)
    features, classes = torch.randn(5, 4), torch.tensor([0, 5, 2, 2, 1])
    logits = loss.classify(F.layer_norm(features, (4,)))
    assert torch.allclose(loss(features, classes), -logits.log_softmax(1)[torch.arange(5), classes].mean())


def test_configurations_build_what_they_name(config, splits):
    kinds = {kind: build_auxiliary(AuxiliaryConfig(kind), 4, 6) for kind in ("none", "neighbors", "classes")}
    assert kinds["none"] is None
    assert isinstance(kinds["neighbors"], NeighborLoss)
    assert isinstance(kinds["classes"], ClassLoss)
    for wrong in (
        AuxiliaryConfig("neighbors", temperature=0),
        AuxiliaryConfig("classes", weight=-1),
        AuxiliaryConfig("other"),
    ):
        with pytest.raises(UserError, match="auxiliary"):
            check_config(config.__class__(**{**vars(config), "auxiliary": wrong}), with_second(splits, None))
