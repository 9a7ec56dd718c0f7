"""Workers of torch that wait sleep, and nobody else is told to."""

import subprocess
import sys

SCRIPT = """
import os, sys, time
from edgepress.exporter.sources.asleep import load_torch_asleep
load_torch_asleep()
import torch
assert "OMP_WAIT_POLICY" not in os.environ
torch.set_num_threads(2)
values = torch.ones(1 << 20)
spent = 0.0
for _ in range(200):
    values.mul_(1.0)
    began = time.process_time()
    time.sleep(0.001)
    spent += time.process_time() - began
print(spent / 200)
"""


def test_a_worker_that_waits_takes_no_processor_time_and_the_environment_is_as_it_was():
    """One that spins takes all of the millisecond."""
    spent = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True).stdout
    assert float(spent) < 3e-4
