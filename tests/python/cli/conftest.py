"""What a user has at hand: a folder with a module, a trained checkpoint and ids."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from cli.user import PROBLEM, module


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder with a user's module, a checkpoint and ids."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "problem.py").write_text(PROBLEM)
    torch.manual_seed(3)
    model = module()["net"]()
    save_file(model.state_dict(), folder / "net.safetensors")
    np.save(folder / "ids.npy", np.array([4, 7, 11]))
    return folder


@pytest.fixture
def model(here):
    """The user's trained model, made here."""
    model = module()["net"]()
    model.load_state_dict(load_file(here / "net.safetensors"))
    return model
