"""The built-in networks run on a CPU when they are tiny, wherever PyTorch is."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
from typing import Any

import pytest

from colocate.executor.measure.worker import CannotError
from colocate.executor.measure.workloads import BUILTIN, make

NETWORKS = sorted(set(BUILTIN) - {"synthetic"})


HAS_TORCH = importlib.util.find_spec("torch") is not None

needs_torch = pytest.mark.skipif(not HAS_TORCH, reason="PyTorch is not installed")


def pytorch() -> Any:
    return importlib.import_module("torch")


@needs_torch
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_runs_at_several_batches(name: str):
    load = make(name, device="cpu", size="tiny")
    for batch in (2, 4, 4, 2):
        load.prepare(batch)
        load.step()
        load.step()
    load.finish()
    assert load.memory_mib() is None
    assert load.facts()["device"] == "cpu"


@needs_torch
def test_weights_of_the_full_networks_are_as_many_as_in_the_papers():
    from colocate.executor.measure.workloads import networks

    def millions(network: Any) -> float:
        return float(sum(p.numel() for p in network.parameters())) / 1e6

    assert millions(networks.resnet50()) == pytest.approx(25.56, abs=0.01)
    assert millions(networks.vgg16()) == pytest.approx(138.36, abs=0.01)
    # BERT-base has 110 million with its pooler; here the head has weights of its own
    assert millions(networks.bert()) == pytest.approx(132.9, abs=1.0)
    assert millions(networks.decoder()) == pytest.approx(124.4, abs=0.1)


@needs_torch
def test_the_decoder_with_a_cache_says_what_it_says_without():
    torch = pytorch()
    from colocate.executor.measure.workloads import networks

    torch.manual_seed(0)
    network = networks.decoder(tiny=True).eval()
    tokens = torch.randint(0, network.words, (2, 9))
    with torch.inference_mode():
        whole = network(tokens, network.caches(2, 16), 0)
        caches = network.caches(2, 16)
        network(tokens[:, :8], caches, 0)
        stepwise = network(tokens[:, 8:], caches, 8)
    assert torch.equal(whole, stepwise)


@needs_torch
def test_training_changes_the_weights():
    torch = pytorch()
    load: Any = make("lstm-training", device="cpu", size="tiny")
    before = torch.cat([p.detach().flatten().clone() for p in load.network.parameters()])
    load.prepare(4)
    after = torch.cat([p.detach().flatten() for p in load.network.parameters()])
    assert not torch.equal(before, after)


@pytest.mark.skipif(HAS_TORCH, reason="PyTorch is installed")
@pytest.mark.parametrize("name", NETWORKS)
def test_without_pytorch_it_says_so(name: str):
    with pytest.raises(CannotError, match="PyTorch is not installed"):
        make(name, device="cpu", size="tiny")


def test_the_process_of_a_workload_imports_the_standard_library_alone():
    code = (
        "import sys; from colocate.executor.measure import worker\n"
        "from colocate.executor.measure.workloads import __main__\n"
        "heavy = {'numpy', 'pydantic', 'scipy', 'torch', 'typer', 'rich'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
