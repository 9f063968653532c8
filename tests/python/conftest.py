"""What all tests share: small problems, on which threads would only wait for each other."""

from __future__ import annotations

import hypothesis
import torch

# A loaded machine is no fault of the code: no test is timed.
hypothesis.settings.register_profile("puma-fast", deadline=None)
hypothesis.settings.load_profile("puma-fast")

torch.set_num_threads(1)
