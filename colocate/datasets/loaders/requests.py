"""Traces of requests to language models: Azure's arrivals and ServeGen's rates.

- Azure LLM inference 2023: `TIMESTAMP, ContextTokens, GeneratedTokens`, a row for each request.
- ServeGen: `workload, client, window_start_s, rate_req_s, interarrival_cv, pattern`, a row for each
  client and window of ten minutes.
"""

from __future__ import annotations

from os import PathLike

import numpy as np

from colocate.datasets.loaders._places import file_in, seconds
from colocate.datasets.traces import Arrivals, ClientRates
from colocate.tables.raw import read_csv

__all__ = ["load_azure_llm", "load_servegen"]


def load_azure_llm(folder: str | PathLike[str], *, kind: str = "conv") -> Arrivals:
    """Read the requests of one kind, `conv` or `code`, in the order of their arrival."""
    name = f"AzureLLMInferenceTrace_{kind}.csv"
    raw = read_csv(
        file_in(folder, f"{name}.gz", name), ["TIMESTAMP", "ContextTokens", "GeneratedTokens"]
    )
    times = seconds(raw, "TIMESTAMP")
    arrivals = Arrivals(times, raw.numbers("ContextTokens"), raw.numbers("GeneratedTokens"))
    ordered: Arrivals = arrivals.take(np.argsort(times, kind="stable"))
    return ordered


def load_servegen(folder: str | PathLike[str]) -> ClientRates:
    """Read the rates of all clients."""
    names = ("client_rates_10min.csv.gz", "client_rates_10min.csv")
    raw = read_csv(file_in(folder, *names), ["client", "window_start_s", "rate_req_s"])
    return ClientRates(
        workload=raw.text("workload"),
        client=raw.text("client"),
        window_start_s=raw.numbers("window_start_s"),
        rate_rps=raw.numbers("rate_req_s"),
        gap_variation=raw.numbers("interarrival_cv"),
        pattern=raw.text("pattern"),
    )
